"""Identity: how far apart two faces are for a face recogniser.

The recogniser is any TorchScript file that maps N×3×150×150 RGB in [0, 1] to N×D. The chip is cut
by a fixed similarity, not by detection, so that it is the same for every method, never fails on a
bad image, and lets gradients through (an identity loss needs that).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfr.errors import InputError

CHIP = 150
# dlib's five points (outer and inner eye corner on the picture's right, the same on its left,
# nose base), in pixels (x, y): where they lie on average in a 256×256 FFHQ crop …
FFHQ_POINTS = ((172.4, 121.3), (145.1, 123.3), (83.6, 121.0), (110.7, 122.9), (128.0, 167.5))
# … and where dlib's recogniser expects them in its 150×150 chip.
CHIP_POINTS = ((110.957, 46.35), (89.606, 47.897), (37.058, 46.373), (58.409, 47.906),
               (74.011, 87.78))  # fmt: skip


class Recogniser(nn.Module):
    """A frozen face recogniser on 256×256 FFHQ-aligned images.

    Args:
        path: TorchScript file, N×3×150×150 RGB in [0, 1] → N×D; weights stored in half precision
            are turned to float32.

    Raises:
        InputError: there is no file at ``path``, or it is not TorchScript.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not Path(path).is_file():
            raise InputError(f"There is no recogniser (a TorchScript file) at {path}.")
        with warnings.catch_warnings():
            # TorchScript is the exchange format of recognisers, deprecated or not.
            warnings.filterwarnings("ignore", message=".*torch.jit.load.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
            try:
                self.net = torch.jit.load(str(path), map_location="cpu").float().eval()
            except RuntimeError as error:
                raise InputError(f"{path} is not a TorchScript file.") from error
        for parameter in self.net.parameters():  # ScriptModules have no requires_grad_()
            parameter.requires_grad = False

    def forward(self, image: Tensor) -> Tensor:
        """N×3×S×S FFHQ-aligned RGB in [0, 1] → N×D embeddings, always computed in float32."""
        with torch.autocast(image.device.type, enabled=False):
            return self.net(identity_chip(image.float()))

    def distance(self, image: Tensor, target: Tensor) -> Tensor:
        """``identity_distance`` of the embeddings of two image batches; shape N."""
        return identity_distance(self(image), self(target))


def identity_distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of embeddings N×D: shape N. Its gradient at distance 0 is 0."""
    return (a - b).square().sum(1).add(1e-12).sqrt()


def identity_chip(image: Tensor) -> Tensor:
    """Cut the recogniser's 150×150 chip out of FFHQ-aligned images N×3×S×S; differentiable.

    Bilinear (``align_corners=True``): from 256×256 the chip is about 0.83 of the scale, too little
    to alias. S is meant to be 256; other sizes are taken as the same crop at another resolution.
    """
    size = image.shape[-1]
    if image.ndim != 4 or image.shape[-2] != size:
        raise ValueError(f"identity_chip needs N×3×S×S images, not {tuple(image.shape)}.")
    theta = torch.from_numpy(_chip_to_image(size)).to(image.device, torch.float32)
    shape = (len(image), 3, CHIP, CHIP)
    grid = F.affine_grid(theta.expand(len(image), 2, 3), shape, align_corners=True)
    return F.grid_sample(image, grid.to(image.dtype), padding_mode="border", align_corners=True)


def _chip_to_image(size: int) -> np.ndarray:
    """2×3 matrix from chip to image, both in [-1, 1] (align_corners=True) coordinates."""
    ffhq = (np.array(FFHQ_POINTS) + 0.5) * size / 256 - 0.5
    source = 2 * np.array(CHIP_POINTS) / (CHIP - 1) - 1
    return fit_similarity(source, 2 * ffhq / (size - 1) - 1).astype(np.float32)


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity (scale, rotation, shift) with source → target, both K×2: 2×3."""
    x, y = np.asarray(source, np.float64).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, tx, ty = np.linalg.lstsq(system, np.asarray(target, np.float64).T.ravel(), rcond=None)[0]
    return np.array([[a, -b, tx], [b, a, ty]])
