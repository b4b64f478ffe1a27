"""Restorer: load the networks once, restore any number of photos, from any number of threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gfr.alignment import SIZE, Aligned, align, paste
from gfr.device import pick_device, pick_dtype
from gfr.errors import InputError
from gfr.faces import Face, FaceFinder, NoFaceError
from gfr.images import ImageError, ImageSource, load_image, to_image, to_tensor
from gfr.model import GFRNet, GFRNetOutput
from gfr.warpnet import identity_grid
from gfr.weights import find_weights, load_model


@dataclass(frozen=True, eq=False)
class FaceResult:
    """One restored face. Images are 256×256×3 uint8 RGB."""

    aligned: np.ndarray
    """The degraded face, cut out of the photo."""
    guide: np.ndarray | None
    """The guide's face; None when the photo was restored without one."""
    warped: np.ndarray
    """The guide bent onto the degraded face; without a guide, the degraded face."""
    flow: np.ndarray
    """2×256×256 float32, the absolute sampling grid in [-1, 1], x first, align_corners=True."""
    restored: np.ndarray
    """The result."""
    box: tuple[float, float, float, float]
    """x, y, width, height of the face in the photo, in pixels."""
    landmarks: np.ndarray | None
    """478×2 float32 in pixels of the photo; None for a photo given as already aligned."""
    guide_index: int | None
    """Which of the given guides was used, from 0; None without a guide."""
    timings_ms: dict[str, float]
    """Milliseconds by step: ``find``, ``guides``, ``network``, ``paste``."""


@dataclass(frozen=True, eq=False)
class Result:
    """What :meth:`Restorer.restore` returns."""

    image: Image.Image
    """The whole photo, upright, with the restored face in it; or the face, if given aligned."""
    faces: list[FaceResult]


@dataclass
class _Clock:
    """Milliseconds between marks."""

    timings: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def mark(self, step: str) -> None:
        now = time.perf_counter()
        self.timings[step] = round((now - self.last) * 1000, 2)
        self.last = now


class Restorer:
    """The whole path from photos to a restored photo. Threads may share one.

    Args:
        model: the network; it is moved to ``device`` and put into evaluation mode.
        device: where the network runs.
        dtype: float32, or the type that convolutions are computed in under autocast.
        weights: the file the network came from, for the record.
    """

    def __init__(
        self,
        model: GFRNet,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        weights: Path | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = dtype
        self.weights = weights
        self.model = model.to(self.device, memory_format=torch.channels_last).eval()
        self._finder: FaceFinder | None = None
        self._finder_lock = threading.Lock()

    @classmethod
    def load(
        cls,
        device: str = "auto",
        weights: str | os.PathLike[str] | None = None,
        dtype: torch.dtype | None = None,
    ) -> Restorer:
        """Load the weights and get ready.

        Args:
            device: "auto" (CUDA where there is one), "cpu" or "cuda".
            weights: a weights file; by default the shipped one (see ``gfr.weights``).
            dtype: by default what :func:`pick_dtype` says.

        Raises:
            InputError: there is no such device, or there are no usable weights.
        """
        chosen = pick_device(device)
        path = find_weights(weights)
        return cls(load_model(path, chosen), chosen, dtype or pick_dtype(chosen), path)

    @property
    def finder(self) -> FaceFinder:
        """The face finder, made when it is first needed."""
        with self._finder_lock:
            if self._finder is None:
                self._finder = FaceFinder()
            return self._finder

    def restore(
        self,
        photo: ImageSource,
        guides: ImageSource | Sequence[ImageSource] | None = None,
        strength: float = 1.0,
        aligned: bool = False,
    ) -> Result:
        """Restore the largest face of a photo.

        Args:
            photo: a path, Pillow image, H×W×3 uint8 RGB array or the bytes of an image file.
            guides: sharp photos of the same person: one, several, or none. Of several, the one
                closest in pose is used.
            strength: how much of the guide is used, 0 (nothing) to 1.
            aligned: the images are 256×256 aligned faces already; nothing is searched.

        Raises:
            InputError: an image cannot be read, shows no face, or is not 256×256 when it should
                be aligned; or the strength is out of range.
        """
        if not 0 <= strength <= 1:
            raise InputError(f"The guide's strength must lie in 0…1, not {strength}.")
        clock = _Clock()
        image = load_image(photo, _name(photo, "The photo"))
        if aligned:
            face, crop = None, Aligned(_check_aligned(image, photo, "The photo"), np.eye(2, 3))
        else:
            face, crop = self.find_face(image, _name(photo, "the photo"))
        clock.mark("find")
        guide_list = _as_list(guides)
        guide, index = self._pick_guide(guide_list, crop.image, face, aligned)
        clock.mark("guides")
        result = self.restore_aligned(
            to_tensor(crop.image), None if guide is None else to_tensor(guide), strength
        )
        restored = to_image(result.restored)
        clock.mark("network")
        whole = restored if aligned else paste(image, restored, crop.matrix)
        clock.mark("paste")
        face_result = FaceResult(
            aligned=crop.image,
            guide=guide,
            warped=to_image(result.warped),
            flow=result.flow[0].cpu().numpy(),
            restored=restored,
            box=(0.0, 0.0, float(SIZE), float(SIZE)) if face is None else face.box,
            landmarks=None if face is None else face.landmarks,
            guide_index=index,
            timings_ms=clock.timings,
        )
        return Result(Image.fromarray(whole), [face_result])

    def find_face(self, photo: np.ndarray, name: str = "the photo") -> tuple[Face, Aligned]:
        """The largest face of an H×W×3 uint8 RGB photo, and its aligned crop.

        Raises:
            NoFaceError: there is none; ``name`` is what the message calls the photo.
        """
        faces = self.finder.find(photo)
        if not faces:
            raise NoFaceError(
                f"No face was found in {name}; use a photo that shows one larger or clearer."
            )
        return faces[0], align(photo, faces[0].landmarks)

    @torch.inference_mode()
    def restore_aligned(
        self, degraded: Tensor, guide: Tensor | None = None, strength: float = 1.0
    ) -> GFRNetOutput:
        """The networks alone: aligned faces in, aligned faces out.

        Args:
            degraded: N×3×256×256 floats in [0, 1], on any device.
            guide: the same shape, or None: the degraded faces stand in.
            strength: how much of the guide is used, 0 to 1.

        Returns:
            float32 tensors on the restorer's device; see ``GFRNetOutput``.

        Raises:
            ValueError: the shapes do not fit.
        """
        if degraded.ndim != 4 or degraded.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"Degraded faces must be N×3×256×256, not {tuple(degraded.shape)}.")
        if guide is not None and guide.shape != degraded.shape:
            raise ValueError(
                f"Guides must have the degraded faces' shape {tuple(degraded.shape)}, not "
                f"{tuple(guide.shape)}."
            )
        with self._autocast():
            output = self.model(
                self._to_device(degraded),
                None if guide is None else self._to_device(guide),
                strength,
            )
        return GFRNetOutput(*(t.float() for t in output))

    def _to_device(self, images: Tensor) -> Tensor:
        return images.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype, enabled=enabled)

    def _pick_guide(
        self,
        guides: list[ImageSource],
        degraded: np.ndarray,
        face: Face | None,
        aligned: bool,
    ) -> tuple[np.ndarray | None, int | None]:
        """The crop and the index of the guide closest in pose."""
        crops, distances = [], []
        for i, source in enumerate(guides):
            label = "guide" if len(guides) == 1 else f"guide {i + 1}"
            image = load_image(source, _name(source, f"The {label}"))
            if aligned:
                crops.append(_check_aligned(image, source, f"The {label}"))
                distances.append(self._flow_distance(degraded, crops[-1]) if guides[1:] else 0)
            else:
                guide_face, crop = self.find_face(image, _name(source, f"the {label}"))
                crops.append(crop.image)
                distances.append(pose_distance(face.landmarks, guide_face.landmarks))
        if not crops:
            return None, None
        index = int(np.argmin(distances))
        return crops[index], index

    @torch.inference_mode()
    def _flow_distance(self, degraded: np.ndarray, guide: np.ndarray) -> float:
        """How far WarpNet must move an aligned guide: the pose distance where no landmarks are."""
        pair = (self._to_device(to_tensor(image)) for image in (degraded, guide))
        with self._autocast():
            flow = self.model.warpnet(*pair).float()
        return float((flow - identity_grid(SIZE, SIZE, flow.device)).norm(dim=1).mean())


def pose_distance(a: np.ndarray, b: np.ndarray) -> float:
    """How differently two faces are turned, and how different their expressions are.

    Args:
        a, b: N×2 landmarks.

    Returns:
        Root mean square distance of the landmarks after the best similarity (Procrustes), as a
        share of the size of ``a``: 0 is the same pose.
    """
    a, b = (np.asarray(p, np.float64) - np.mean(p, axis=0) for p in (a, b))
    # With points as complex numbers a similarity is one factor, which least squares gives.
    za, zb = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    residual = za - np.vdot(zb, za) / np.vdot(zb, zb) * zb
    return float(np.linalg.norm(residual) / np.linalg.norm(za))


def _as_list(guides: ImageSource | Sequence[ImageSource] | None) -> list[ImageSource]:
    if guides is None:
        return []
    return list(guides) if isinstance(guides, list | tuple) else [guides]


def _name(source: ImageSource, otherwise: str) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else otherwise


def _check_aligned(image: np.ndarray, source: ImageSource, otherwise: str) -> np.ndarray:
    if image.shape[:2] != (SIZE, SIZE):
        raise ImageError(
            f"{_name(source, otherwise)} is {image.shape[1]}×{image.shape[0]}, but an aligned face "
            "must be 256×256; without the aligned option, the face is found in any photo."
        )
    return image
