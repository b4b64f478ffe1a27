"""GFR: guided face restoration.

A blurry, small or noisy face is restored with the help of a sharp photo of the same person.

    from gfr import Restorer

    result = Restorer.load().restore("old.jpg", "sharp.jpg")
    result.image.save("restored.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfr.degradation import Degradation, degrade
    from gfr.errors import InputError
    from gfr.restorer import Restorer

__version__ = "0.1.0"
__all__ = ["Degradation", "InputError", "Restorer", "degrade"]

_HOMES = {
    "Degradation": "gfr.degradation",
    "InputError": "gfr.errors",
    "Restorer": "gfr.restorer",
    "degrade": "gfr.degradation",
}


def __getattr__(name: str) -> Any:
    # torch takes more than a second to import: the command line answers before it is needed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
