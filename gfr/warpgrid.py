"""Sampling grids: what a flow is, and how an image is read through one.

A flow Φ is an **absolute sampling grid**, N×2×H×W in [-1, 1], x first, ``align_corners=True``:
Φ at a pixel of the degraded photo says where in the guide to read. A guide landmark at (20, 10)
that belongs at (22, 14) means Φ(22, 14) = (20, 10), in normalised units.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def identity_grid(
    height: int,
    width: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The flow that moves nothing: 1×2×H×W, x first, -1 and 1 on the outermost pixel centres."""
    x = torch.linspace(-1, 1, width, device=device, dtype=dtype)
    y = torch.linspace(-1, 1, height, device=device, dtype=dtype)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resample a flow N×2×h×w to N×2×H×W; positions are normalised, so no value is rescaled."""
    if flow.shape[-2:] == (height, width):
        return flow
    return F.interpolate(flow, (height, width), mode="bilinear", align_corners=True)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Read ``image`` at the positions that ``flow`` names.

    Args:
        image: N×C×h×w, images or features.
        flow: N×2×H×W absolute grid; resampled to h×w when the sizes differ.

    Returns:
        N×C×h×w in the dtype of ``image``: bilinear, ``align_corners=True``, border repeated.
    """
    flow = resize_flow(flow.float(), *image.shape[-2:])
    # Sub-pixel positions need float32: bfloat16 resolves only a pixel at 256.
    with torch.autocast(image.device.type, enabled=False):
        out = F.grid_sample(
            image.float(),
            flow.permute(0, 2, 3, 1),
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
    return out.to(image.dtype)
