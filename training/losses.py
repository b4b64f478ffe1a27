"""The regression losses, each a small callable that cites its source.

Images are N×3×H×W in [0, 1]; flows are N×2×H×W absolute grids, x first, ``align_corners=True``.
Every loss returns a scalar, averaged over what it compares.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gfr.warpnet import identity_grid, resize_flow
from training.distributed import masked_mean, own_rows, world_size


def landmark_loss(flow: Tensor, points: Tensor, guide_points: Tensor) -> Tensor:
    """Φ read at the photo's mesh points must name the guide's: |dx| + |dy|, in [-1, 1] units.

    GFRNet eq. 8, with an absolute instead of a squared difference, and all 468 mesh points for 68.

    Args:
        points, guide_points: N×K×2 in [-1, 1], x first. Points outside the picture do not count.
    """
    at = F.grid_sample(flow, points[:, :, None], mode="bilinear", align_corners=True)[..., 0]
    inside = (points.abs() <= 1).all(2).float()
    error = (at.transpose(1, 2) - guide_points).abs().sum(2)
    return masked_mean(error, inside)


def total_variation_loss(flow: Tensor) -> Tensor:
    """Squared differences of neighbouring offsets, in units of a picture's side (GFRNet eq. 9).

    Of the offset from identity rather than of Φ, so that "no warp" costs nothing; multiplied by the
    resolution, so that the same slope costs the same at any size.
    """
    height, width = flow.shape[-2:]
    offset = flow - identity_grid(height, width, flow.device)
    dx = (offset[..., 1:] - offset[..., :-1]) * width / 2
    dy = (offset[..., 1:, :] - offset[..., :-1, :]) * height / 2
    return dx.square().mean() + dy.square().mean()


def flow_loss(flow: Tensor, mesh_flow: Tensor) -> Tensor:
    """L1 to the flow interpolated between the meshes: says what to do beside the mesh points."""
    return (resize_flow(flow, *mesh_flow.shape[-2:]) - mesh_flow).abs().mean()


def reconstruction_loss(restored: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Charbonnier distance, ε = 1/255: L1 that is smooth at 0.

    Args:
        weight: N×1×h×w of mean 1, resampled to the image.
    """
    error = ((restored - truth).square() + (1 / 255) ** 2).sqrt()
    return (error * _resize(weight, truth)).mean()


def mse_loss(restored: Tensor, truth: Tensor) -> Tensor:
    """Squared distance (GFRNet eq. 4) on the scale [-1, 1], which the paper's weight is for."""
    return 4 * F.mse_loss(restored, truth)


def gradient_loss(restored: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """L1 between horizontal and vertical differences: edges in the right place."""
    w = _resize(weight, truth)
    dx = (restored - truth).diff(dim=3).abs() * w[..., 1:]
    dy = (restored - truth).diff(dim=2).abs() * w[..., 1:, :]
    return dx.mean() + dy.mean()


def _resize(weight: Tensor, image: Tensor) -> Tensor:
    size = image.shape[-2:]
    return F.interpolate(weight, size, mode="bilinear", align_corners=False)


def face_corners(
    points: Tensor, size: int, side: int, generator: torch.Generator
) -> list[tuple[int, int]]:
    """Top-left corners (x, y), in pixels, of one random crop per sample, centred on the face.

    Args:
        points: N×K×2 mesh points in [-1, 1].
        size: side of the images.
        side: side of the crops, at most ``size``.
        generator: the same in all processes that share the batch.
    """
    low, high = points.amin(1).cpu(), points.amax(1).cpu()
    draw = own_rows(torch.rand(world_size() * len(points), 2, generator=generator))
    centre = low + draw * (high - low)
    corner = (centre + 1) / 2 * (size - 1) - side / 2
    return [(int(x), int(y)) for x, y in corner.round().clamp(0, size - side).tolist()]


def cut(images: Tensor, corners: list[tuple[int, int]], side: int) -> Tensor:
    """N×C×side×side: the windows of ``images`` whose top-left corners are given."""
    pairs = zip(images, corners, strict=True)
    return torch.stack([image[:, y : y + side, x : x + side] for image, (x, y) in pairs])
