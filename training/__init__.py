"""What made the weights: data preparation, training and evaluation.

Inference (the ``gfr`` package) never imports from here.
"""
