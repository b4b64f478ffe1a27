"""RecNet: restores the face from the degraded photo and the warped guide.

(GFRNet, ECCV 2018, section 3.2: ``Î = F_r(I_d, I_w; Θ_r)``)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfr.blocks import Down, ResBlock, Up, conv, norm, zero


@dataclass(frozen=True)
class RecNetConfig:
    """The compact RecNet: a residual U-Net at half resolution, with a guide encoder."""

    widths: tuple[int, ...] = (48, 96, 160, 224, 256)
    """Channels per level; the first level is at half the image's side."""
    blocks: tuple[int, ...] = (1, 1, 2, 2, 2)
    """Residual blocks per level on the way down; on the way up there is one each."""
    guide_widths: tuple[int, ...] = (24, 48, 96)
    """Channels of the guide encoder's levels; () is the plain form: image-level guide only."""
    kind: str = "compact"


@dataclass(frozen=True)
class PaperRecNetConfig:
    """The paper's RecNet: the U-Net of pix2pix (Isola et al. 2017)."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512, 512, 512)
    dropout: float = 0.5
    """Of the first three decoder layers."""
    guide_widths: tuple[int, ...] = ()
    kind: str = "paper"


class GuideEncoder(nn.Module):
    """I_g → features at 1/2, 1/4, 1/8 of its side, to be warped by Φ and read by RecNet.

    It runs on the guide *before* the warp: no detail is lost to resampling first, and the features
    of one guide serve any number of degraded photos.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = conv(12, widths[0])
        self.blocks = nn.ModuleList(ResBlock(w, w) for w in widths)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))

    def forward(self, guide: Tensor) -> list[Tensor]:
        """N×3×H×W in [0, 1] → one N×C_i×H/2^(i+1)×W/2^(i+1) per level."""
        h = self.stem(F.pixel_unshuffle(guide, 2))
        features = []
        for i, block in enumerate(self.blocks):
            h = block(h if i == 0 else self.down[i - 1](h))
            features.append(h)
        return features


class RecNet(nn.Module):
    """(I_d, I_w, warped guide features) → Î = I_d + residual."""

    def __init__(self, config: RecNetConfig) -> None:
        super().__init__()
        w, n = config.widths, config.blocks
        self.stem = conv(24, w[0])
        self.join = nn.ModuleList(
            conv(a + g, a, 1) for a, g in zip(w, config.guide_widths, strict=False)
        )
        self.encoder = nn.ModuleList(
            nn.Sequential(*(ResBlock(a, a) for _ in range(k))) for a, k in zip(w, n, strict=True)
        )
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(w))
        self.up = nn.ModuleList(Up(b, a) for a, b in pairwise(w))
        self.decoder = nn.ModuleList(ResBlock(a, a) for a in w[:-1])
        self.norm = norm(w[0])
        self.head = zero(conv(w[0], 12))

    def forward(self, degraded: Tensor, warped: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """Restore.

        Args:
            degraded: I_d, N×3×H×W in [0, 1], H and W multiples of 32.
            warped: I_w, the warped guide, of the same shape.
            features: the guide encoder's levels, warped by the same flow.

        Returns:
            Î, N×3×H×W, not clamped.
        """
        h = self.stem(F.pixel_unshuffle(torch.cat([degraded, warped], 1), 2))
        skips = []
        for i, blocks in enumerate(self.encoder):
            if i < len(self.join):
                h = self.join[i](torch.cat([h, features[i]], 1))
            h = blocks(h)
            if i < len(self.down):
                skips.append(h)
                h = self.down[i](h)
        for up, block, skip in zip(
            reversed(self.up), reversed(self.decoder), reversed(skips), strict=True
        ):
            h = block(up(h) + skip)  # a sum, not a concatenation: half the price
        return degraded + F.pixel_shuffle(self.head(F.silu(self.norm(h))), 2)


class PaperRecNet(nn.Module):
    """(I_d, I_w) → Î as in the paper: pix2pix's U-Net with skips."""

    def __init__(self, config: PaperRecNetConfig) -> None:
        super().__init__()
        w = config.widths
        self.encoder = nn.ModuleList([nn.Conv2d(6, w[0], 4, 2, 1)])
        for i, (a, b) in enumerate(pairwise(w)):
            layers = [nn.LeakyReLU(0.2), nn.Conv2d(a, b, 4, 2, 1)]
            layers += [] if i == len(w) - 2 else [nn.BatchNorm2d(b)]
            self.encoder.append(nn.Sequential(*layers))
        self.decoder = nn.ModuleList()
        for i, (a, b) in enumerate(pairwise((*reversed(w), 3))):
            inner, last = i == 0, i == len(w) - 1
            layers = [nn.ReLU(), nn.ConvTranspose2d(a if inner else 2 * a, b, 4, 2, 1)]
            layers += [nn.Tanh()] if last else [nn.BatchNorm2d(b)]
            layers += [nn.Dropout(config.dropout)] if i < 3 else []
            self.decoder.append(nn.Sequential(*layers))

    def forward(self, degraded: Tensor, warped: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """As the compact RecNet's; H = W = 256, and ``features`` is empty."""
        h = torch.cat([degraded, warped], 1) * 2 - 1
        skips = []
        for layer in self.encoder:
            h = layer(h)
            skips.append(h)
        h = skips.pop()
        for i, layer in enumerate(self.decoder):
            h = layer(h if i == 0 else torch.cat([h, skips.pop()], 1))
        return (h + 1) / 2


def build_recnet(config: RecNetConfig | PaperRecNetConfig) -> RecNet | PaperRecNet:
    """The RecNet that ``config`` describes."""
    return RecNet(config) if isinstance(config, RecNetConfig) else PaperRecNet(config)
