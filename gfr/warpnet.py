"""WarpNet: a dense flow field that bends the guide onto the pose of the degraded photo.

The compact form goes from coarse to fine: MeshNet finds both faces' meshes, which give a first
flow; then U-Net passes correct it, each looking at the guide as warped so far.

(GFRNet, ECCV 2018, section 3.2, figure 3)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfr.blocks import Down, ResBlock, Up, conv, norm, zero
from gfr.meshnet import MeshNet, mesh_flow
from gfr.warpgrid import identity_grid, resize_flow, warp

__all__ = [
    "PaperWarpNet",
    "PaperWarpNetConfig",
    "WarpFlows",
    "WarpNet",
    "WarpNetConfig",
    "build_warpnet",
    "identity_grid",
    "resize_flow",
    "warp",
]


@dataclass(frozen=True)
class WarpNetConfig:
    """The compact WarpNet: MeshNet, then a few U-Net passes, at a quarter of ``working_size``."""

    working_size: int = 128
    """Side the two images are reduced to; a flow is smooth and needs no more."""
    unshuffle: int = 4
    """Pixel-unshuffle factor in front of the first convolution."""
    widths: tuple[int, ...] = (48, 96, 128, 160)
    """Channels per level, from working_size / unshuffle down."""
    passes: int = 1
    """How many times the meshes' flow is corrected."""
    kind: str = "compact"


@dataclass(frozen=True)
class PaperWarpNetConfig:
    """The paper's WarpNet (supplementary material, table 1)."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024, 1024, 1024)
    """Channels of the eight stride-2 convolutions, 256×256 down to 1×1."""
    kind: str = "paper"


class WarpFlows(NamedTuple):
    """What a WarpNet computes on its way; the trainer supervises all of it."""

    flows: list[Tensor]
    """Φ after each step, coarse to fine, each N×2×H×W float32; the last is the answer."""
    meshes: list[Tensor]
    """Mesh points of the degraded face and of the guide, N×468×2 each; empty if not computed."""


class FlowPass(nn.Module):
    """One correction: (I_d, I_w, Φ) → ΔΦ, a U-Net over pixel-unshuffled images."""

    def __init__(self, unshuffle: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.stem = conv(8 * unshuffle**2, widths[0])
        self.encoder = nn.ModuleList(ResBlock(w, w) for w in widths)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.middle = ResBlock(widths[-1], widths[-1])
        self.up = nn.ModuleList(Up(b, a) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(ResBlock(2 * w, w) for w in widths[:-1])
        self.norm = norm(widths[0])
        # 8 channels become an offset field of twice the side: eyelids are finer than the levels.
        self.head = zero(conv(widths[0], 8))

    def forward(self, degraded: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
        x = torch.cat([degraded, warped, flow], 1)
        h = self.stem(F.pixel_unshuffle(x, self.unshuffle))
        skips = []
        for i, block in enumerate(self.encoder):
            h = block(h)
            if i < len(self.down):
                skips.append(h)
                h = self.down[i](h)
        h = self.middle(h)
        for up, block, skip in zip(
            reversed(self.up), reversed(self.decoder), reversed(skips), strict=True
        ):
            h = block(torch.cat([up(h), skip], 1))
        offset = F.pixel_shuffle(self.head(F.silu(self.norm(h))), 2).float()
        return resize_flow(offset, *flow.shape[-2:])


class WarpNet(nn.Module):
    """(I_d, I_g) → Φ: the flow between the two meshes, then one correction per pass."""

    def __init__(self, config: WarpNetConfig) -> None:
        super().__init__()
        self.size = config.working_size
        self.meshnet = MeshNet(self.size, config.unshuffle, config.widths)
        self.passes = nn.ModuleList(
            FlowPass(config.unshuffle, config.widths) for _ in range(config.passes)
        )

    def forward(self, degraded: Tensor, guide: Tensor) -> Tensor:
        """Both N×3×H×W in [0, 1] → Φ, N×2×H×W."""
        return self.steps(degraded, guide).flows[-1]

    def steps(self, degraded: Tensor, guide: Tensor) -> WarpFlows:
        """As :meth:`forward`, with everything in between."""
        small_d, small_g = (F.adaptive_avg_pool2d(x, self.size) for x in (degraded, guide))
        points, guide_points = self.meshnet(torch.cat([small_d, small_g])).chunk(2)
        coarse = mesh_flow(points, guide_points, side=32)
        flows = [resize_flow(coarse, self.size, self.size)]
        for flow_pass in self.passes:
            # Each step answers for itself, as in RAFT: no gradient through its input flow.
            flow = flows[-1].detach()
            flows.append(flow + flow_pass(small_d, warp(small_g, flow), flow))
        height, width = degraded.shape[-2:]
        return WarpFlows([resize_flow(f, height, width) for f in flows], [points, guide_points])


class PaperWarpNet(nn.Module):
    """(I_d, I_g) → Φ as in the paper: eight 4×4 convolutions down, eight up, no skips, tanh."""

    def __init__(self, config: PaperWarpNetConfig) -> None:
        super().__init__()
        w = config.widths
        layers: list[nn.Module] = [nn.Conv2d(6, w[0], 4, 2, 1)]
        for i, (a, b) in enumerate(pairwise(w)):
            last = i == len(w) - 2  # 1×1: nothing to normalise
            layers += [nn.LeakyReLU(0.2), nn.Conv2d(a, b, 4, 2, 1)]
            layers += [] if last else [nn.BatchNorm2d(b)]
        for a, b in pairwise(reversed(w)):
            layers += [nn.ReLU(), nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b)]
        layers += [nn.ReLU(), nn.ConvTranspose2d(w[0], 2, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, degraded: Tensor, guide: Tensor) -> Tensor:
        """Both N×3×256×256 in [0, 1] → Φ, N×2×256×256."""
        return self.layers(torch.cat([degraded, guide], 1) * 2 - 1).float()

    def steps(self, degraded: Tensor, guide: Tensor) -> WarpFlows:
        """The one flow: the same interface as the compact WarpNet's."""
        return WarpFlows([self(degraded, guide)], [])


def build_warpnet(config: WarpNetConfig | PaperWarpNetConfig) -> WarpNet | PaperWarpNet:
    """The WarpNet that ``config`` describes."""
    return WarpNet(config) if isinstance(config, WarpNetConfig) else PaperWarpNet(config)
