"""Building blocks shared by the compact networks."""

from __future__ import annotations

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn


def norm(channels: int) -> nn.GroupNorm:
    """Group norm: batch statistics mean nothing for batches of one, which is what users run."""
    return nn.GroupNorm(8, channels)


def conv(in_channels: int, out_channels: int, kernel: int = 3) -> nn.Conv2d:
    """A convolution that keeps H×W."""
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)


Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def zero(module: Layer) -> Layer:
    """Zero a layer, so that what it adds to starts unchanged."""
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    return module


class ResBlock(nn.Module):
    """N×C_in×H×W → N×C_out×H×W: two normalised 3×3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(in_channels), conv(in_channels, out_channels)
        self.norm2, self.conv2 = norm(out_channels), conv(out_channels, out_channels)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.shortcut(x) + h


class Down(nn.Module):
    """Halve H×W and change the channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pixel_unshuffle(x, 2))


class Up(nn.Module):
    """Double H×W (nearest) and change the channels; the 1×1 convolution comes first, as cheaper."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="nearest")
