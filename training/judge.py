"""The measuring networks: an image against the truth, in four figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gfr.metrics import psnr, ssim
from training.identity import Recogniser, identity_distance
from training.perceptual import VGGFeatures, vgg_distance

METRICS = ("psnr", "ssim", "vgg", "identity")
VGG_FILE = "vgg16_features.safetensors"
RECOGNISER_FILE = "identity_dlib_resnet.pt"


@dataclass(frozen=True)
class Truth:
    """A batch of true images and what is computed from them once."""

    image: Tensor
    features: list[Tensor]
    embedding: Tensor


@dataclass(frozen=True)
class Judge:
    """The two measuring networks.

    VGG runs under autocast to ``dtype``: bfloat16, where the hardware has it, is twice as fast and
    moves its distances by about 0.1 %. The recogniser always runs in float32.
    """

    vgg: VGGFeatures
    recogniser: Recogniser
    dtype: torch.dtype = torch.float32

    @classmethod
    def load(
        cls,
        models: Path,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        recogniser: Path | None = None,
    ) -> Judge:
        """Read the networks from a folder; ``recogniser`` replaces the folder's own.

        Raises:
            InputError: a file is missing or is not what its name says.
        """
        vgg = VGGFeatures(Path(models) / VGG_FILE).to(device)
        return cls(vgg, Recogniser(recogniser or Path(models) / RECOGNISER_FILE).to(device), dtype)

    def features(self, image: Tensor) -> list[Tensor]:
        """VGG features of N×3×H×W RGB in [0, 1]."""
        with autocast(image.device, self.dtype):
            return self.vgg(image)

    def truth(self, image: Tensor) -> Truth:
        """Prepare N×3×256×256 true images."""
        return Truth(image, self.features(image), self.recogniser(image))

    def scores(self, image: Tensor, truth: Truth) -> dict[str, np.ndarray]:
        """Each of ``METRICS`` for N×3×256×256 RGB in [0, 1]: N values."""
        values = (
            psnr(image, truth.image),
            ssim(image, truth.image),
            vgg_distance(self.features(image), truth.features),
            identity_distance(self.recogniser(image), truth.embedding),
        )
        return {k: v.double().cpu().numpy() for k, v in zip(METRICS, values, strict=True)}


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Autocast to ``dtype``; none for float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
