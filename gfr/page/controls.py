"""Between the page's controls and what they mean."""

from __future__ import annotations

from gfr.degradation import Degradation
from gfr.errors import InputError
from gfr.page.studio import View
from gfr.visualize import FlowStyle

JPEG_OFF = 100  # the slider's right end


def to_degradation(
    blur: float, scale: float, noise: float, jpeg: float, seed: float
) -> Degradation:
    """The sliders' values as a degradation.

    Raises:
        InputError: a value is out of range.
    """
    try:
        quality = None if jpeg >= JPEG_OFF else int(jpeg)
        return Degradation(blur, max(1.0, scale), noise, quality, int(seed or 0))
    except ValueError as error:
        raise InputError(str(error)) from error


def from_degradation(degradation: Degradation) -> tuple[float, float, float, int, int]:
    """The inverse of :func:`to_degradation`: blur, scale, noise, jpeg, seed."""
    d = degradation
    jpeg = JPEG_OFF if d.jpeg is None else d.jpeg
    return round(d.blur, 1), round(d.scale, 2), round(d.noise, 1), jpeg, d.seed % 1000


def view_defaults() -> tuple[str, int, str, bool]:
    """The view controls' initial values."""
    view = View()
    return view.flow, view.style.spacing, view.style.colour, view.landmarks


def to_view(flow: str, spacing: float, colour: str, landmarks: bool) -> View:
    """The view controls' values as a view.

    Raises:
        InputError: a value is out of range.
    """
    try:
        return View(flow, FlowStyle(spacing=int(spacing), colour=colour), bool(landmarks))
    except ValueError as error:
        raise InputError(str(error)) from error
