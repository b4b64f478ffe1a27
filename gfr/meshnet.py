"""MeshNet: where the points of the face mesh lie, read off an image of any quality.

WarpNet's coarse half. Two faces' meshes give a first flow between them; learning *where a face is*
from every single image is far quicker than learning how any two faces differ.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfr.blocks import Down, ResBlock, conv, norm, zero
from gfr.warpgrid import identity_grid

POINTS = 468
"""Points of MediaPipe's face mesh (without the irises)."""


class MeshNet(nn.Module):
    """N×3×S×S in [0, 1] → N×468×2 mesh points in [-1, 1], x first, ``align_corners=True``.

    Args:
        size: S.
        unshuffle: pixel-unshuffle factor in front of the first convolution.
        widths: channels per level.
    """

    def __init__(self, size: int, unshuffle: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.stem = conv(3 * unshuffle**2, widths[0])
        self.blocks = nn.ModuleList(ResBlock(w, w) for w in widths)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.norm = norm(widths[-1])
        side = size // unshuffle // 2 ** (len(widths) - 1)
        self.hidden = nn.Linear(widths[-1] * side**2, 256)
        # Zero weights: an untrained MeshNet finds the same mesh everywhere, so nothing is warped.
        self.head = zero(nn.Linear(256, 2 * POINTS))

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(F.pixel_unshuffle(image, self.unshuffle))
        for i, block in enumerate(self.blocks):
            h = block(h if i == 0 else self.down[i - 1](h))
        h = self.hidden(F.silu(self.norm(h)).flatten(1))
        # bfloat16 would round the points to half a pixel.
        with torch.autocast(image.device.type, enabled=False):
            return self.head(F.silu(h.float())).view(-1, POINTS, 2)

    @torch.no_grad()
    def set_mean(self, points: Tensor) -> None:
        """Start from a mean face, 468×2 in [-1, 1]."""
        self.head.bias.copy_(points.flatten())


def mesh_flow(points: Tensor, guide_points: Tensor, side: int, sigma: float = 0.06) -> Tensor:
    """The flow between two meshes: each pixel moves as the mesh points near it do.

    ``Φ(q) = q + Σ_k w_k(q) (g_k - d_k)`` with ``w(q) = softmax_k(-|q - d_k|² / 2σ²)``, which is
    Nadaraya-Watson regression of the displacement.

    Args:
        points: d, N×K×2 in [-1, 1], of the degraded face.
        guide_points: g, N×K×2, of the guide.
        side: resolution of the answer.
        sigma: σ, half a picture being 1; about the distance of neighbouring points.

    Returns:
        N×2×side×side float32.
    """
    # A third of the points says as much about a smooth flow.
    d, g = points[:, ::3].float(), guide_points[:, ::3].float()
    grid = identity_grid(side, side, d.device)
    q = grid.flatten(2).transpose(1, 2)
    weight = torch.softmax(-torch.cdist(q.expand(len(d), -1, -1), d).square() / (2 * sigma**2), -1)
    offset = (weight @ (g - d)).transpose(1, 2).reshape(-1, 2, side, side)
    return grid + offset
