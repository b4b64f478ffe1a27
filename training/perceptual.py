"""VGG16 features and the perceptual distance on them.

Perceptual loss: Johnson et al., ECCV 2016. Channel-normalised differences: LPIPS, Zhang et al.,
CVPR 2018 (here without its learnt layer weights). Network: VGG16, Simonyan & Zisserman, 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from gfr.errors import InputError

# Index of each ReLU in torchvision's ``vgg16().features``.
LAYERS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}
DEFAULT_LAYERS = ("relu1_2", "relu2_2", "relu3_3")


class VGGFeatures(nn.Module):
    """VGG16 up to the last layer asked for, frozen, in eval mode, channels_last.

    Args:
        path: safetensors file with torchvision's key names, in any float type (weights are kept in
            float32); None downloads torchvision's own ImageNet weights.
        layers: names out of ``LAYERS``, in any order.

    Raises:
        ValueError: an unknown layer.
        InputError: there is no file at ``path``, or it lacks a weight that a layer needs.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path | None, layers: Sequence[str] = DEFAULT_LAYERS) -> None:
        super().__init__()
        unknown = [name for name in layers if name not in LAYERS]
        if unknown or not layers:
            raise ValueError(f"No VGG16 layer {unknown}: choose from {', '.join(LAYERS)}.")
        self.taps = tuple(sorted(LAYERS[name] for name in set(layers)))
        self.net = _load_vgg16(path, self.taps[-1] + 1)
        self.net.requires_grad_(False).eval().to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of N×3×H×W RGB in [0, 1]: one N×C×h×w tensor per layer, shallow to deep."""
        x = ((image - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features = []
        for index, layer in enumerate(self.net):
            x = layer(x)
            if index in self.taps:
                features.append(x)
        return features

    def distance(self, image: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """``vgg_distance`` of two N×3×H×W RGB images in [0, 1]; shape N. See there for weight."""
        return vgg_distance(self(image), self(target), weight)


def vgg_distance(
    features: Sequence[Tensor], target: Sequence[Tensor], weight: Tensor | None = None
) -> Tensor:
    """Perceptual distance: squared difference of unit feature vectors, summed over the layers.

    At every position of a layer the C-vectors of both images are scaled to unit length; their
    squared Euclidean distance (in [0, 2], as features are not negative) is averaged over the
    positions; the layers' means are added. With the three default layers the bench's degraded
    inputs measure about 0.87, 1.64 and 2.10 (mild, moderate, severe).

    Args:
        features: per layer N×C×h×w, e.g. of the restored image; gradients flow into it.
        target: the same for the true image; compute it under ``no_grad`` when it is fixed.
        weight: optional N×1×H×W map, not negative, at any resolution: the mean over positions
            becomes a weighted mean (a mask selects a region). An image whose weights are all zero
            gets distance 0.

    Returns:
        N distances, float32 whatever the autocast type.
    """
    total: Tensor | float = 0.0
    for a, b in zip(features, target, strict=True):
        difference = _unit_difference(a, b)
        if weight is None:
            total = total + difference.mean((1, 2))
        else:
            w = F.interpolate(weight.float(), size=difference.shape[1:], mode="area")[:, 0]
            mass = w.sum((1, 2)).clamp_min(torch.finfo(torch.float32).tiny)
            total = total + (difference * w).sum((1, 2)) / mass
    return total


def _unit_difference(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of the channel vectors scaled to unit length: N×h×w, float32.

    |â − b̂|² = |â|² + |b̂|² − 2 â·b̂ needs three reductions and no normalised copies. eps keeps dead
    positions (all zero after ReLU) finite; VGG features are in the tens, so it does not show.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b, eps = a.float(), b.float(), 1e-6
        aa, bb, ab = (a * a).sum(1), (b * b).sum(1), (a * b).sum(1)
        difference = aa / (aa + eps) + bb / (bb + eps) - 2 * ab * ((aa + eps) * (bb + eps)).rsqrt()
        return difference.clamp_min(0)


def _load_vgg16(path: Path | None, depth: int) -> nn.Sequential:
    if path is None:
        return vgg16(weights=VGG16_Weights.IMAGENET1K_V1).features[:depth]
    if not Path(path).is_file():
        raise InputError(f"There are no VGG16 weights at {path}.")
    with torch.device("meta"):  # VGG16's classifier alone would fill half a gigabyte for nothing
        net = vgg16(weights=None, init_weights=False).features[:depth]
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}).") from error
    state = {key.removeprefix("features."): w.float() for key, w in tensors.items()}
    missing = net.load_state_dict(state, strict=False, assign=True).missing_keys
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: it is not a VGG16 of torchvision's.")
    return net
