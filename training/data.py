"""Training pairs: (degraded, guide, truth) with mesh points, made on the fly from aligned crops.

The crops are the output of ``training.prepare``: ``<person>/<name>.webp`` (288×288, the central
256×256 is the FFHQ crop) and ``<name>.npy`` (468×2 mesh points, pixels of the 288 image).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from gfr.degradation import degrade, sample_degradation
from training.meshflow import feature_weights, mesh_flow
from training.mirror import MIRROR

SIDE = 288
MARGIN = 16
RIGHT, WRONG, NONE = 0, 1, 2


@dataclass(frozen=True)
class DataConfig:
    """What the network is shown. Shares are probabilities in [0, 1]."""

    size: int = 256
    """Side of the training images; faces are degraded at 256 and then reduced."""
    preset: str = "heavy"
    """Degradation preset."""
    null_share: float = 0.0
    """Share of inputs degraded to almost nothing, where only the guide can help."""
    real_share: float = 0.8
    """Share of real second photos among the guides; the rest are warped copies of the truth."""
    wrong_share: float = 0.08
    """Share of strangers as guides."""
    none_share: float = 0.0
    """Share without a guide (the degraded image stands in)."""
    jitter: float = 1.0
    """Strength of the geometric augmentation of photo and guide."""
    flow_noise: float = 0.0
    """Standard deviation of the smooth error added to the mesh flow, in pixels at 256."""


class FaceStore:
    """All crops of some folders as one memory map, so that a sample costs no decoding."""

    def __init__(self, images: np.ndarray, points: np.ndarray, person: np.ndarray) -> None:
        self.images, self.points, self.person = images, points, person
        order = np.argsort(person, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(person[order]) != 0])
        self.members = {int(person[g[0]]): g for g in np.split(order, starts[1:])}
        self.paired = np.flatnonzero([len(self.members[int(p)]) > 1 for p in person])

    def mean_points(self) -> np.ndarray:
        """The mean face mesh, 468×2 float32 in [-1, 1] of the FFHQ crop."""
        return (self.points.mean(0) - MARGIN) / 127.5 - 1

    @classmethod
    def open(cls, folders: list[Path], cache: Path) -> FaceStore:
        """Decode every crop below ``folders`` once into ``cache``, then map it.

        Folders whose name starts with ``_singles`` hold one photo per person.

        Raises:
            FileNotFoundError: no crop is found.
        """
        files = sorted(f for folder in folders for f in folder.rglob("*.webp"))
        files = [f for f in files if f.with_suffix(".npy").exists()]
        if not files:
            raise FileNotFoundError(
                f"No aligned crops in {', '.join(map(str, folders))}; make them with "
                "`python -m training.prepare SRC -o DST`."
            )
        key = hashlib.sha256("\n".join(f"{f} {f.stat().st_mtime_ns}" for f in files).encode())
        path = cache / f"faces-{key.hexdigest()[:16]}.npy"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            shape = (len(files), SIDE, SIDE, 3)
            data = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
            for i, file in enumerate(tqdm(files, desc="decoding", unit="img")):
                data[i] = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
            data.flush()
            partial.rename(path)
        points = np.stack([np.load(f.with_suffix(".npy")) for f in files]).astype(np.float32)
        names = [f if f.parent.name.startswith("_singles") else f.parent for f in files]
        _, person = np.unique([str(n) for n in names], return_inverse=True)
        return cls(np.load(path, mmap_mode="r"), points, person)


class PairDataset(Dataset):
    """Endless random training pairs; index ``i`` alone (with the seed) decides the sample."""

    def __init__(self, store: FaceStore, config: DataConfig, seed: int = 0) -> None:
        self.store, self.config, self.seed = store, config, seed

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One sample.

        Returns:
            truth, degraded, guide: 3×S×S uint8. points, guide_points: 468×2 float32 in [-1, 1],
            x first, ``align_corners=True``. mesh_flow: 2×32×32 float32, the flow that the two
            meshes imply. weight: 1×64×64 float32, 1 outside the face and more on its features.
            kind: RIGHT, WRONG or NONE.
        """
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, index))
        c = self.config
        kind = int(rng.choice(3, p=self._shares()))
        i, j = self._pick(rng, kind)
        flip = rng.random() < 0.5
        truth, points = self._crop(i, flip, self._affine(rng, 0.6 * c.jitter))
        if i == j:
            guide, guide_points = warped_copy(
                rng, *self._crop(j, flip, self._affine(rng, c.jitter))
            )
        else:
            guide, guide_points = self._crop(j, flip, self._affine(rng, c.jitter))
        guide = colour_jitter(rng, guide)
        preset = "null" if rng.random() < c.null_share else c.preset
        degraded = degrade(truth, sample_degradation(rng, preset))
        if kind == NONE:
            guide, guide_points = degraded, points
        flow = mesh_flow(points, guide_points, side=32)
        if c.flow_noise > 0 and kind != NONE:
            flow = flow + smooth_noise(rng, flow.shape[-1], c.flow_noise * 2 / 255)
        return {
            "truth": self._tensor(truth),
            "degraded": self._tensor(degraded),
            "guide": self._tensor(guide),
            "points": torch.from_numpy(points / 127.5 - 1),
            "guide_points": torch.from_numpy(guide_points / 127.5 - 1),
            "mesh_flow": torch.from_numpy(flow),
            "weight": torch.from_numpy(feature_weights(points, side=64)),
            "kind": torch.tensor(kind),
        }

    def _shares(self) -> tuple[float, float, float]:
        c = self.config
        return (1 - c.wrong_share - c.none_share, c.wrong_share, c.none_share)

    def _pick(self, rng: np.random.Generator, kind: int) -> tuple[int, int]:
        """Indices of the truth and of the guide; equal when the guide is to be a warped copy."""
        store = self.store
        if kind == WRONG:
            i, j = (int(k) for k in rng.integers(len(store.person), size=2))
            while store.person[i] == store.person[j]:
                j = int(rng.integers(len(store.person)))
            return i, j
        if len(store.paired) and rng.random() < self.config.real_share:
            i = int(rng.choice(store.paired))
            others = store.members[int(store.person[i])]
            return i, int(rng.choice(others[others != i]))
        i = int(rng.integers(len(store.person)))
        return i, i

    def _affine(self, rng: np.random.Generator, strength: float) -> np.ndarray:
        """A 2×3 similarity from the 288 crop to 256: the inaccuracy of an alignment."""
        angle = rng.normal(0, 3 * strength)
        zoom = float(np.exp(rng.normal(0, 0.035 * strength)))
        matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, zoom)
        matrix[:, 2] += rng.normal(0, 3 * strength, 2) - MARGIN
        return matrix

    def _crop(self, i: int, flip: bool, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The face as 256×256×3 uint8 and its points, both through ``matrix``."""
        points = self.store.points[i] @ matrix[:, :2].T + matrix[:, 2]
        image = cv2.warpAffine(
            np.asarray(self.store.images[i]),
            matrix,
            (256, 256),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        if flip:
            image = np.ascontiguousarray(image[:, ::-1])
            points = np.stack([255 - points[:, 0], points[:, 1]], 1)[MIRROR]
        return image, points.astype(np.float32)

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        size = self.config.size
        if size != image.shape[0]:
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def smooth_noise(rng: np.random.Generator, side: int, sigma: float) -> np.ndarray:
    """2×side×side float32 Gaussian field of standard deviation ``sigma``, about 5 bumps across."""
    coarse = rng.normal(0, sigma, (5, 5, 2)).astype(np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)


def warped_copy(
    rng: np.random.Generator, image: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A smoothly bent copy of a face and its points: a guide for those with a single photo."""
    side = image.shape[0]
    field = smooth_noise(rng, side, rng.uniform(2, 8))
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bent = cv2.remap(
        image, x + field[0], y + field[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    # The copy at q shows the original at q + field(q); invert by fixed-point iteration.
    moved = points.copy()
    for _ in range(4):
        at = np.clip(np.rint(moved).astype(int), 0, side - 1)
        moved = points - field[:, at[:, 1], at[:, 0]].T
    return bent, moved


def colour_jitter(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Another camera, another light: gain, gamma, saturation and white balance."""
    gamma, gain = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.04, 3))
    tone = np.clip((np.arange(256)[:, None] / 255) ** gamma * gain, 0, 1)
    x = cv2.LUT(image, np.rint(tone * 255).astype(np.uint8).reshape(256, 1, 3))
    saturation = float(np.exp(rng.normal(0, 0.15)))
    grey = cv2.merge([cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)] * 3)
    return cv2.addWeighted(x, saturation, grey, 1 - saturation, 0)
