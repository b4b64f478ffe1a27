"""WarpNet: a dense flow field that bends the guide onto the pose of the degraded photo.

A flow Φ is an **absolute sampling grid**, N×2×H×W in [-1, 1], x first, ``align_corners=True``:
Φ at a pixel of the degraded photo says where in the guide to read. A guide landmark at (20, 10)
that belongs at (22, 14) means Φ(22, 14) = (20, 10), in normalised units.

(GFRNet, ECCV 2018, section 3.2, figure 3)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfr.blocks import Down, ResBlock, Up, conv, norm, zero


@dataclass(frozen=True)
class WarpNetConfig:
    """The compact WarpNet: a few U-Net passes at a quarter of ``working_size``."""

    working_size: int = 128
    """Side the two images are reduced to; a flow is smooth and needs no more."""
    unshuffle: int = 4
    """Pixel-unshuffle factor in front of the first convolution."""
    widths: tuple[int, ...] = (48, 96, 128, 160)
    """Channels per level, from working_size / unshuffle down."""
    passes: int = 2
    """How many times the flow is corrected; each pass sees the guide as warped so far."""
    kind: str = "compact"


@dataclass(frozen=True)
class PaperWarpNetConfig:
    """The paper's WarpNet (supplementary material, table 1)."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024, 1024, 1024)
    """Channels of the eight stride-2 convolutions, 256×256 down to 1×1."""
    kind: str = "paper"


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
    """(I_d, I_g) → Φ: each pass adds a correction to the flow so far, starting from identity."""

    def __init__(self, config: WarpNetConfig) -> None:
        super().__init__()
        self.working_size = config.working_size
        self.passes = nn.ModuleList(
            FlowPass(config.unshuffle, config.widths) for _ in range(config.passes)
        )

    def forward(self, degraded: Tensor, guide: Tensor) -> Tensor:
        """Both N×3×H×W in [0, 1] → Φ, N×2×H×W."""
        return self.flows(degraded, guide)[-1]

    def flows(self, degraded: Tensor, guide: Tensor) -> list[Tensor]:
        """The flow after each pass, each N×2×H×W float32: the trainer supervises all of them."""
        size = (self.working_size, self.working_size)
        small_d, small_g = F.adaptive_avg_pool2d(degraded, size), F.adaptive_avg_pool2d(guide, size)
        grid = identity_grid(*size, device=degraded.device).expand(len(degraded), -1, -1, -1)
        flows = []
        for flow_pass in self.passes:
            # Each pass answers for its own step, as in RAFT: no gradient through its input flow.
            grid = grid.detach()
            grid = grid + flow_pass(small_d, warp(small_g, grid), grid.to(small_d.dtype))
            flows.append(resize_flow(grid, *degraded.shape[-2:]))
        return flows


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

    def flows(self, degraded: Tensor, guide: Tensor) -> list[Tensor]:
        """The one flow, in a list: the same interface as the compact WarpNet."""
        return [self(degraded, guide)]


def build_warpnet(config: WarpNetConfig | PaperWarpNetConfig) -> WarpNet | PaperWarpNet:
    """The WarpNet that ``config`` describes."""
    return WarpNet(config) if isinstance(config, WarpNetConfig) else PaperWarpNet(config)
