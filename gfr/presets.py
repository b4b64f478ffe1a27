"""Named degradations: the page's presets, and how the examples' photos were made bad."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gfr.degradation import Degradation, sample_degradation
from gfr.errors import InputError

CLEAN = Degradation()

PRESETS: dict[str, Degradation] = {
    "Phone in the dark": Degradation(blur=1.4, scale=4, noise=18, jpeg=45),
    "Old scan": Degradation(blur=2.6, scale=2, noise=14, jpeg=60),
    "Video call": Degradation(blur=1.0, scale=6, noise=4, jpeg=22),
    "Tiny thumbnail": Degradation(blur=0.5, scale=10, noise=2, jpeg=60),
    "The paper's range": Degradation(blur=2.0, scale=4.5, noise=3.5, jpeg=25),
}
"""Strengths at 256×256. "The paper's range" is the middle of the ranges of GFRNet, section 3.3."""

RANDOM = "Surprise me"


def preset(name: str, rng: np.random.Generator) -> Degradation:
    """The degradation called ``name``; :data:`RANDOM` draws one of the four sliders' kind.

    Raises:
        InputError: no such preset.
    """
    if name == RANDOM:
        return replace(sample_degradation(rng, "heavy"), motion=0.0)
    if name not in PRESETS:
        raise InputError(f"There is no preset {name!r}; there are {', '.join(PRESETS)}, {RANDOM}.")
    return PRESETS[name]


def ramp(steps: int, axis: str) -> list[Degradation]:
    """From mild to severe along one slider, or along all of them together.

    Args:
        steps: how many, at least 2.
        axis: "blur", "scale", "noise", "jpeg" or "all". The other sliders stay at a light,
            realistic level, so that the curve is about its own.

    Raises:
        InputError: no such axis, or too few steps.
    """
    if axis not in (*RAMP_ENDS, "all"):
        raise InputError(f"There is no axis {axis!r}; there are all, {', '.join(RAMP_ENDS)}.")
    if steps < 2:
        raise InputError(f"A curve needs at least 2 steps, not {steps}.")
    base = Degradation(blur=1.0, scale=2.0, noise=3.0, jpeg=70)
    axes = list(RAMP_ENDS) if axis == "all" else [axis]
    out = []
    for t in np.linspace(0, 1, steps):
        values = {a: RAMP_ENDS[a][0] + t * (RAMP_ENDS[a][1] - RAMP_ENDS[a][0]) for a in axes}
        if "jpeg" in values:
            values["jpeg"] = round(values["jpeg"])
        out.append(replace(base, **values))
    return out


RAMP_ENDS: dict[str, tuple[float, float]] = {
    "blur": (0.0, 6.0),
    "scale": (1.0, 14.0),
    "noise": (0.0, 30.0),
    "jpeg": (90, 8),
}
