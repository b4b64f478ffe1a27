"""A bench: fixed test cases with degraded inputs at three levels, right and wrong guides.

The folder holds, per case, the 256×256 FFHQ-aligned images ``<case>_gt.webp``, ``…_guide``,
``…_wrong``, ``…_mild``, ``…_moderate`` and ``…_severe``, and the float arrays ``<case>_lm.npy`` and
``<case>_guide_lm.npy``: 468×2 face-mesh points (x, y) in pixels of the truth and of the guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gfr.errors import InputError
from gfr.images import load_image, to_tensor

LEVELS = ("mild", "moderate", "severe")
IMAGES = ("gt", "guide", "wrong", *LEVELS)
SIZE = 256


class BenchError(InputError):
    """The folder is not a bench; the message is one sentence."""


@dataclass(frozen=True)
class Bench:
    """All cases of a bench in memory."""

    names: tuple[str, ...]
    images: dict[str, Tensor]
    """"gt", "guide", "wrong" and the levels → N×3×256×256 RGB float32 in [0, 1]."""
    landmarks: Tensor
    """N×468×2 (x, y) pixels of the truth, and of its degraded versions."""
    guide_landmarks: Tensor
    """N×468×2 (x, y) pixels of the right guide."""

    @classmethod
    def load(cls, folder: Path) -> Bench:
        """Read a folder.

        Raises:
            BenchError: it holds no cases, or a case lacks a file or has one of another size.
        """
        folder = Path(folder)
        names = tuple(sorted(f.name.removesuffix("_gt.webp") for f in folder.glob("*_gt.webp")))
        if not names:
            raise BenchError(f"{folder} is not a bench: it holds no <case>_gt.webp.")
        return cls(
            names,
            {k: torch.cat([_image(folder / f"{n}_{k}.webp") for n in names]) for k in IMAGES},
            torch.stack([_points(folder / f"{n}_lm.npy") for n in names]),
            torch.stack([_points(folder / f"{n}_guide_lm.npy") for n in names]),
        )

    def __len__(self) -> int:
        return len(self.names)

    def select(self, cases: slice | Sequence[int]) -> Bench:
        """The bench of some of the cases only."""
        index = torch.arange(len(self))[cases]
        return Bench(
            tuple(self.names[i] for i in index),
            {kind: images[index] for kind, images in self.images.items()},
            self.landmarks[index],
            self.guide_landmarks[index],
        )

    def spread(self, count: int) -> Bench:
        """At most ``count`` cases, evenly spread over the bench."""
        count = max(1, min(count, len(self)))
        return self.select([int(i) for i in np.linspace(0, len(self) - 1, count).round()])

    def batches(self, size: int) -> list[Bench]:
        """The cases in order, at most ``size`` at a time."""
        return [self.select(slice(i, i + size)) for i in range(0, len(self), size)]


def normalised(points: Tensor, size: int = SIZE) -> Tensor:
    """Pixels (x, y) of a size×size image → [-1, 1], ``align_corners=True``."""
    return points * (2 / (size - 1)) - 1


def landmark_error(flow: Tensor | None, landmarks: Tensor, guide_landmarks: Tensor) -> Tensor:
    """How far the flow reads from where it should, at the face-mesh points.

    The flow at a landmark of the degraded photo should name the guide's landmark. The error is
    |dx| + |dy| in [-1, 1] units, averaged over the points.

    Args:
        flow: Φ, N×2×256×256 absolute grid, ``align_corners=True``; None is the unwarped guide.
        landmarks: N×K×2 (x, y) pixels of the degraded photo.
        guide_landmarks: N×K×2 (x, y) pixels of the guide.

    Returns:
        N errors.
    """
    points = normalised(landmarks)
    if flow is None:
        read = points
    else:
        read = F.grid_sample(
            flow.float(), points[:, None], padding_mode="border", align_corners=True
        )
        read = read[:, :, 0].transpose(1, 2)
    return (read - normalised(guide_landmarks)).abs().sum(2).mean(1)


def pixels_per_axis(error: float, size: int = SIZE) -> float:
    """A ``landmark_error`` as the mean distance along one axis, in pixels of a size×size image."""
    return error / 2 * (size - 1) / 2


def _image(path: Path) -> Tensor:
    if not path.is_file():
        raise BenchError(f"The bench lacks {path}.")
    image = to_tensor(load_image(path))
    if image.shape != (1, 3, SIZE, SIZE):
        raise BenchError(f"{path} is not {SIZE}×{SIZE}.")
    return image


def _points(path: Path) -> Tensor:
    if not path.is_file():
        raise BenchError(f"The bench lacks {path}.")
    points = np.load(path, allow_pickle=False)
    if points.ndim != 2 or points.shape[1] != 2:
        raise BenchError(f"{path} does not hold K×2 points.")
    return torch.from_numpy(points.astype(np.float32))
