"""Discriminators: is this picture a photo, or did a network make it?

Two forms. The *whole* form gives one verdict per picture (the global and local discriminators of
GFRNet, ECCV 2018, section 3.3); the *patch* form one per overlapping patch, and so judges texture
(PatchGAN: Isola et al., CVPR 2017, section 3.2.2). Every layer has spectral norm (Miyato et al.,
ICLR 2018) where those papers have batch norm: it bounds the slope of the verdict, which keeps small
data sets stable, and it does not mix the samples of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Channels of the convolutions."""

    whole: tuple[int, ...]
    """One stride-2 convolution each; the sides must be multiples of 2^len."""
    patch: tuple[int, ...]
    """All stride 2 but the last; four give verdicts on 70×70 patches."""


DISCRIMINATORS: dict[str, DiscriminatorConfig] = {
    "compact": DiscriminatorConfig((32, 64, 96, 128, 160), (32, 64, 96, 128)),
    "paper": DiscriminatorConfig((64, 128, 256, 512, 512), (64, 128, 256, 512)),
}
"""By the name of the network (``gfr.model.CONFIGS``) that they train."""


class WholeDiscriminator(nn.Module):
    """N×C×H×W in [0, 1] → N×1 logits, positive for "a photo"."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = _convolutions((in_channels, *widths), [2] * len(widths))
        self.verdict = spectral_norm(nn.Linear(widths[-1], 1))

    def forward(self, picture: Tensor) -> Tensor:
        return self.verdict(self.layers(picture * 2 - 1).mean((2, 3)))


class PatchDiscriminator(nn.Module):
    """N×C×H×W in [0, 1] → N×1×h×w logits, one per patch, positive for "a photo"."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        strides = [2] * (len(widths) - 1) + [1]
        self.layers = _convolutions((in_channels, *widths), strides)
        self.verdict = spectral_norm(nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, picture: Tensor) -> Tensor:
        return self.verdict(self.layers(picture * 2 - 1))


def _convolutions(channels: tuple[int, ...], strides: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for (a, b), stride in zip(pairwise(channels), strides, strict=True):
        layers += [spectral_norm(nn.Conv2d(a, b, 4, stride, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
