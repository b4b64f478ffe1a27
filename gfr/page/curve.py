"""The robustness curve as a picture that reads on light and on dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gfr.page.studio import CurvePoint

_INK = "#8694a3"  # readable on white and on near-black
AXES = {
    "all": "all four together",
    "blur": "blur, σ in pixels",
    "scale": "downsampling factor",
    "noise": "noise, σ in levels",
    "jpeg": "JPEG quality",
}


def curve_value(points: Sequence[CurvePoint], axis: str) -> dict[str, Any]:
    """Picture and points, for :func:`gfr.page.views.curve_view`."""
    if axis == "all":
        x = [100 * i / (len(points) - 1) for i in range(len(points))]
    else:
        x = [float(getattr(p.degradation, axis)) for p in points]
    lines = {
        "with the guide": ([p.with_guide for p in points], "#14a08c", "o-"),
        "without a guide": ([p.without_guide for p in points], "#e0813a", "s-"),
        "degraded input": ([p.input for p in points], _INK, "--"),
    }
    last = points[-1]
    return {
        "image": _picture(x, lines, axis),
        "alt": (
            f"PSNR over {AXES[axis]}; at the severe end {last.input:.1f} dB for the input, "
            f"{last.with_guide:.1f} dB with the guide, {last.without_guide:.1f} dB without"
        ),
        "points": [
            {
                "x": round(position, 2),
                "input_db": round(p.input, 2),
                "with_guide_db": round(p.with_guide, 2),
                "without_guide_db": round(p.without_guide, 2),
            }
            for position, p in zip(x, points, strict=True)
        ],
    }


def _picture(x: list[float], lines: dict[str, tuple[list[float], str, str]], axis: str) -> str:
    figure = Figure(figsize=(7.2, 3.2), dpi=160)
    canvas = FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0.08, 0.16, 0.9, 0.8))
    axes.patch.set_alpha(0)
    for name, (y, colour, mark) in lines.items():
        axes.plot(x, y, mark, color=colour, label=name, linewidth=2, markersize=4.5)
    if axis == "jpeg":
        axes.invert_xaxis()  # low quality is severe
    label = "mild … severe, % of the sliders' range" if axis == "all" else AXES[axis]
    axes.set_xlabel(label, color=_INK)
    axes.set_ylabel("PSNR, dB", color=_INK)
    axes.tick_params(colors=_INK)
    axes.grid(color=_INK, alpha=0.25, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    axes.legend(frameon=False, labelcolor=_INK)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
