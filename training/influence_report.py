"""What was measured of the guide's influence, in words, as a table and as a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from training.influence import Influence

MEASURES = {
    "gain": "identity gain: ID(none) − ID(right)",
    "swap_inside": "swap sensitivity: VGG(right, wrong) in the face",
    "swap_outside": "swap sensitivity: VGG(right, wrong) around it",
    "pull": "pull to the stranger whose photo is the wrong guide",
    "warp_id": "warp value: ID(unwarped guide) − ID(right)",
    "warp_vgg": "warp value: VGG(unwarped guide) − VGG(right)",
    "landmark_before": "landmark error before the warp",
    "landmark_after": "landmark error after the warp",
}


def verdict(influence: Influence) -> str:
    """In words: does the guide matter?"""
    worst = list(influence.levels)[-1]
    gain, rise = influence.interval(worst, "gain"), influence.rise()
    if not gain.above_zero:
        return (
            f"FAILURE: the network ignores the guide. At {worst} the identity gain is {gain}, "
            "which is not above 0."
        )
    if not rise.above_zero:
        return (
            f"FAILURE: the curve is flat. The identity gain at {worst} is {gain}, but it does not "
            f"grow with degradation ({rise} from the least level to the worst): the guide does "
            "not help where only it can."
        )
    means = [influence.interval(level, "gain").mean for level in influence.levels]
    steady = "and grows at every level" if means == sorted(means) else "though not at every level"
    return (
        f"The guide matters: at {worst} the identity gain is {gain}, {rise} more than at the "
        f"least degraded level, {steady}."
    )


def table(influence: Influence) -> str:
    """Measures by level, with intervals, as aligned text."""
    lines = [f"{'':<52}" + "".join(f"{level:>26}" for level in influence.levels)]
    for measure, meaning in MEASURES.items():
        cells = (f"{influence.interval(lv, measure)!s:>26}" for lv in influence.levels)
        lines.append(f"{meaning:<52}" + "".join(cells))
    return "\n".join(lines)


def share_of_gain(influence: Influence, other: dict[str, float]) -> str:
    """What share of the gain another run has (one without identity loss, say), by level.

    Args:
        influence: the gains that are the whole.
        other: level → mean identity gain of the other run.
    """
    parts = []
    for level, gain in other.items():
        own = influence.interval(level, "gain").mean
        share = f"{gain / own:.0%}" if own > 0 else "no share"
        parts.append(f"{level} {gain:+.3f} of {own:+.3f} ({share})")
    return "the other run's gain: " + ", ".join(parts)


def gain_curve(influence: Influence, title: str) -> np.ndarray:
    """Identity gain over degradation strength with its interval: 500×800×3 uint8 RGB."""
    figure = Figure(figsize=(8, 5), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    strengths = list(influence.curve)
    points = [influence.curve_interval(s) for s in strengths]
    axes.fill_between(strengths, [p.low for p in points], [p.high for p in points], alpha=0.25)
    axes.plot(strengths, [p.mean for p in points], marker="o")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks([1, 2, 3, 4], ["mild", "moderate", "severe", "null"])
    axes.set_xlabel("degradation")
    axes.set_ylabel("identity gain: ID(no guide) − ID(right guide)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
