"""What a flow says in pixels: where the guide is read, and how its pixels move.

A flow here is 2×H×W float, the model's absolute sampling grid in [-1, 1], x first,
``align_corners=True``: the warped guide at pixel p is the guide read at flow(p). So the guide's
pixel at flow(p) *moves to* p, and its motion, in pixels, is p - flow(p). Pixel centres lie on whole
numbers.
"""

from __future__ import annotations

import numpy as np


def source_pixels(flow: np.ndarray) -> np.ndarray:
    """Where each output pixel is read in the guide: 2×H×W float32 pixels, x first."""
    _check_flow(flow)
    height, width = flow.shape[1:]
    scale = np.array([width - 1, height - 1], np.float32).reshape(2, 1, 1) / 2
    return (flow.astype(np.float32) + 1) * scale


def motion(flow: np.ndarray) -> np.ndarray:
    """How the guide's pixels move: 2×H×W float32, p - flow(p) in pixels, x right, y down."""
    source = source_pixels(flow)
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x, y]) - source


def flow_arrows(flow: np.ndarray, spacing: int) -> tuple[np.ndarray, np.ndarray]:
    """The arrows a quiver of this flow shows.

    Returns:
        ``(tips, moves)``, each N×2 float32 in pixels of the flow, x first. An arrow runs from
        ``tip - move`` (the guide's pixel) to ``tip`` (where it lands).
    """
    height, width = flow.shape[1:]
    tips = arrow_grid(height, width, spacing)
    x, y = tips.astype(int).T
    return tips, motion(flow)[:, y, x].T


def arrow_grid(height: int, width: int, spacing: int) -> np.ndarray:
    """The tips of the arrows: N×2 float32 pixels, x first, half a spacing from the edges on."""
    y, x = np.mgrid[spacing // 2 : height : spacing, spacing // 2 : width : spacing]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _check_flow(flow: np.ndarray) -> None:
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"A flow is 2×H×W, x first, not {flow.shape}.")
