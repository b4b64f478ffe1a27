"""The page's actions. None knows of a session or of a component; all return plain data.

Images are H×W×3 uint8 RGB, aligned faces 256×256, flows as in ``gfr.warpnet``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gfr.degradation import Degradation, degrade
from gfr.images import to_image, to_tensor
from gfr.metrics import psnr, ssim
from gfr.page.subjects import Steps, Subject
from gfr.page.views import to_uri
from gfr.presets import ramp
from gfr.restorer import Restorer
from gfr.visualize import (
    FlowStyle,
    deformed_grid,
    difference_map,
    draw_landmarks,
    quiver,
)

ARROWS, GRID, PLAIN = "Arrows", "Deformed grid", "Nothing"
FLOW_VIEWS = (ARROWS, GRID, PLAIN)


@dataclass(frozen=True)
class View:
    """How the panels are drawn."""

    flow: str = ARROWS
    style: FlowStyle = field(default_factory=FlowStyle)
    landmarks: bool = False


@dataclass(frozen=True)
class Quality:
    """An image's likeness to the truth."""

    psnr: float
    """In dB."""
    ssim: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """A degraded face restored, its truth known."""

    steps: Steps
    before: Quality
    after: Quality
    network_ms: float


def quality(image: np.ndarray, truth: np.ndarray) -> Quality:
    """PSNR and SSIM of one image against another."""
    a, b = to_tensor(image), to_tensor(truth)
    return Quality(float(psnr(a, b)), float(ssim(a, b)))


def degrade_and_restore(
    restorer: Restorer,
    truth: Subject,
    guide: Subject | None,
    degradation: Degradation,
    strength: float = 1.0,
) -> Outcome:
    """Spoil a sharp face and restore it.

    Args:
        restorer: the networks.
        truth: the sharp face.
        guide: another photo's face of the same person, or None.
        degradation: what to do to it.
        strength: how much the guide counts, 0…1.
    """
    degraded = degrade(truth.crop, degradation)
    start = time.perf_counter()
    out = restorer.restore_aligned(
        to_tensor(degraded), None if guide is None else to_tensor(guide.crop), strength
    )
    restored = to_image(out.restored)
    network_ms = (time.perf_counter() - start) * 1000
    steps = Steps(
        degraded=degraded,
        guide=None if guide is None else guide.crop,
        warped=to_image(out.warped),
        flow=out.flow[0].float().cpu().numpy(),
        restored=restored,
        landmarks=truth.landmarks,
        guide_landmarks=None if guide is None else guide.landmarks,
    )
    return Outcome(steps, quality(degraded, truth.crop), quality(restored, truth.crop), network_ms)


def panels_value(steps: Steps, view: View, notes: dict[str, str] | None = None) -> dict[str, Any]:
    """The four panels as data URIs, for :func:`gfr.page.views.panels_view`."""
    notes = notes or {}
    pictures = {
        "degraded": steps.degraded,
        "guide": steps.guide,
        "warped": None if steps.guide is None else _warped(steps, view),
        "restored": steps.restored,
    }
    if view.landmarks:
        marks = dict.fromkeys(("degraded", "warped", "restored"), steps.landmarks)
        marks["guide"] = steps.guide_landmarks
        for name, points in marks.items():
            picture = pictures[name]
            if picture is not None and points is not None:
                scaled = points * (picture.shape[0] / steps.degraded.shape[0])
                pictures[name] = draw_landmarks(picture, scaled)
    value: dict[str, Any] = {k: None if p is None else to_uri(p) for k, p in pictures.items()}
    return value | {f"{k}_note": notes.get(k, "") for k in pictures}


def _warped(steps: Steps, view: View) -> np.ndarray:
    if view.flow == PLAIN:
        return steps.warped
    draw = quiver if view.flow == ARROWS else deformed_grid
    return draw(steps.warped, steps.flow, view.style)


def scores_value(outcome: Outcome, total_ms: float) -> dict[str, str]:
    """PSNR and SSIM before and after as text, for :func:`gfr.page.views.scores_view`."""
    value = {}
    for name, digits in (("psnr", 1), ("ssim", 3)):
        before, after = getattr(outcome.before, name), getattr(outcome.after, name)
        gain = after - before
        finite = np.isfinite(before) and np.isfinite(after)
        value[f"{name}_input"] = f"{before:.{digits}f}" if np.isfinite(before) else "∞"
        value[f"{name}_output"] = f"{after:.{digits}f}"
        value[f"{name}_gain"] = f"{gain:+.{digits}f}" if finite else ""
        value[f"{name}_class"] = "better" if gain > 0 else "worse"
    value["timing"] = f"networks {outcome.network_ms:.0f} ms · everything {total_ms:.0f} ms"
    return value


def guide_test(
    restorer: Restorer, truth: Subject, guide: Subject, stranger: Subject, degradation: Degradation
) -> dict[str, Any]:
    """Does the guide matter? The same input with the guide, without, and with a stranger's."""
    runs = {
        name: degrade_and_restore(restorer, truth, g, degradation)
        for name, g in (("right", guide), ("none", None), ("wrong", stranger))
    }
    value: dict[str, Any] = {}
    for name, run in runs.items():
        value[name] = to_uri(run.steps.restored)
        value[f"{name}_note"] = f"PSNR {run.after.psnr:.1f} dB"
    heat = difference_map(runs["right"].steps.restored, runs["none"].steps.restored)
    value |= {"heat": to_uri(heat), "heat_note": "this guide or none"}
    gain = runs["right"].after.psnr - runs["wrong"].after.psnr
    value["number"] = f"{gain:+.1f} dB"
    if gain > 0:
        value["sentence"] = (
            "The output with this guide is that much closer to the true face than the output with "
            "a stranger's guide."
        )
    else:
        value["sentence"] = (
            "At this degradation the photo itself still says more than the guide does: move the "
            "sliders further to see the guide take over."
        )
    return value


@dataclass(frozen=True)
class CurvePoint:
    """One step of the robustness curve."""

    degradation: Degradation
    input: float
    with_guide: float
    without_guide: float


def robustness(
    restorer: Restorer,
    truth: Subject,
    guide: Subject,
    axis: str,
    steps: int = 8,
    progress: Callable[[float, str], None] | None = None,
) -> list[CurvePoint]:
    """PSNR from mild to severe along one slider, with the guide and without.

    Args:
        restorer, truth, guide: as in :func:`degrade_and_restore`.
        axis: as in :func:`gfr.presets.ramp`.
        steps: how many degradations.
        progress: told the share done (0…1) and a word on it.
    """
    points = []
    for i, degradation in enumerate(ramp(steps, axis)):
        if progress:
            progress(i / steps, f"step {i + 1} of {steps}")
        seeded = replace(degradation, seed=i)
        right = degrade_and_restore(restorer, truth, guide, seeded)
        alone = degrade_and_restore(restorer, truth, None, seeded)
        points.append(CurvePoint(seeded, right.before.psnr, right.after.psnr, alone.after.psnr))
    return points
