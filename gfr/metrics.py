"""Fidelity of a restored image to the truth: PSNR and SSIM.

The two perceptual figures, VGG and identity distance, need networks that are not part of the
product; they live in ``training/perceptual.py`` and ``training/identity.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over all pixels and the three channels.

    Args:
        image: N×3×H×W RGB in [0, 1].
        target: the same shape.

    Returns:
        N values in dB, float32; infinite where the images are equal.
    """
    _check(image, target)
    return -10 * (image.float() - target.float()).square().mean((1, 2, 3)).log10()


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity: Gaussian window 11×11, σ 1.5, K1 = 0.01, K2 = 0.03, population
    statistics, positions whose window lies inside the image; the mean over the RGB channels.

    (Wang, Bovik, Sheikh and Simoncelli, IEEE Transactions on Image Processing, 2004)

    Args:
        image: N×3×H×W RGB in [0, 1], H and W at least 11.
        target: the same shape.

    Returns:
        N values in [-1, 1], float32; 1 for equal images.
    """
    _check(image, target)
    if min(image.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"ssim needs at least {SSIM_WINDOW} pixels a side.")
    # Grey as 0: the variances below are differences of squares, and smaller squares lose less.
    x, y = image.float() - 0.5, target.float() - 0.5
    n = len(x)
    mean = _gaussian(torch.cat([x, y, x * x, y * y, x * y]))
    mx, my, xx, yy, xy = mean.split(n)
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * (xy - mx * my) + c2) / (xx - mx * mx + yy - my * my + c2)
    mx, my = mx + 0.5, my + 0.5
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return (luminance * structure).mean((1, 2, 3))


def _gaussian(x: Tensor) -> Tensor:
    """Separable Gaussian window over N×C×H×W, valid positions only."""
    t = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    kernel = torch.exp(-(t**2) / (2 * SSIM_SIGMA**2))
    weights = (kernel / kernel.sum()).tolist()
    for axis in (3, 2):
        # Eleven shifted sums: a tenth of the time of a convolution of single channels.
        valid = x.shape[axis] - SSIM_WINDOW + 1
        out = x.narrow(axis, 0, valid) * weights[0]
        for i, weight in enumerate(weights[1:], start=1):
            out.add_(x.narrow(axis, i, valid), alpha=weight)
        x = out
    return x


def _check(image: Tensor, target: Tensor) -> None:
    if image.ndim != 4 or image.shape != target.shape:
        raise ValueError(
            "Two batches N×3×H×W of one shape are needed, "
            f"not {tuple(image.shape)} and {tuple(target.shape)}."
        )
