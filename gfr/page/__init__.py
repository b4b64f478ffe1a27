"""What the web page computes and shows; its layout and wiring are in ``app.py``."""
