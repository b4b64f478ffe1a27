"""Faces: detection and landmarks, by MediaPipe Tasks; alignment is at home in ``alignment``.

Coordinates here are continuous: x first, a pixel ``i`` covers ``[i, i + 1)``, so its centre lies at
``i + 0.5``, and a photo W pixels wide reaches from 0 to W.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gfr.alignment import Aligned, align, ffhq_transform, paste, shrunk
from gfr.errors import InputError
from gfr.files import WEIGHTS_DIR

if TYPE_CHECKING:
    from mediapipe.tasks.python.vision import FaceLandmarker

__all__ = [
    "Aligned",
    "Face",
    "FaceFinder",
    "NoFaceError",
    "align",
    "ffhq_transform",
    "paste",
]

_SEARCH_SIDE = 1280  # larger photos are searched in a copy of this size
_STDERR = threading.Lock()


class NoFaceError(InputError):
    """No face was found; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo."""

    landmarks: np.ndarray
    """478×2 float32: the face mesh and both irises, (x, y) in pixels of the photo."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height of the landmarks' bounding box, in pixels; it may leave the photo."""
        (left, top), (right, bottom) = self.landmarks.min(0), self.landmarks.max(0)
        return float(left), float(top), float(right - left), float(bottom - top)


class FaceFinder:
    """Finds faces with MediaPipe's FaceLandmarker. Any number of threads may share one.

    Args:
        model: the landmarker's ``.task`` file.
        max_faces: how many faces are looked for in a photo.

    Raises:
        OSError: the model or one of MediaPipe's system libraries is missing.
    """

    def __init__(self, model: Path = WEIGHTS_DIR / "face_landmarker.task", max_faces: int = 10):
        if not model.is_file():
            raise FileNotFoundError(f"There is no face landmarker {model}.")
        self._landmarker = _create_landmarker(model, max_faces)
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._landmarker)

    def find(self, photo: np.ndarray) -> list[Face]:
        """Find the faces in a photo.

        The photo is searched as it is; if that finds nothing, zoomed out, which helps with a
        degraded face that fills the frame, and at last in overlapping tiles, for faces that are
        small in it.

        Args:
            photo: H×W×3 uint8 RGB, of any size.

        Returns:
            The faces, the largest first; empty if there are none.
        """
        for search in (_whole, _zoomed_out, _halves, _quarters):
            faces = [face for view in search(photo) for face in self._detect(photo, *view)]
            if faces:
                faces.sort(key=lambda face: face.box[2] * face.box[3], reverse=True)
                return _without_duplicates(faces)
        return []

    def _detect(self, photo: np.ndarray, x: int, y: int, width: int, height: int) -> list[Face]:
        """Search one view, a rectangle of the photo that may reach over its edges."""
        import mediapipe as mp

        bottom, right = photo.shape[0], photo.shape[1]
        inside = photo[max(y, 0) : min(y + height, bottom), max(x, 0) : min(x + width, right)]
        scale = min(1.0, _SEARCH_SIDE / max(width, height))
        image = shrunk(inside, scale)
        if inside.shape[:2] != (height, width):
            left, top = round(max(-x, 0) * scale), round(max(-y, 0) * scale)
            canvas = np.full((round(height * scale), round(width * scale), 3), 127, np.uint8)
            canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
            image = canvas
        with self._lock:
            result = self._landmarker.detect(
                mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(image))
            )
        size, origin = np.float32([width, height]), np.float32([x, y])
        found = (np.array([(p.x, p.y) for p in face]) for face in result.face_landmarks)
        return [Face((points * size + origin).astype(np.float32)) for points in found]


View = tuple[int, int, int, int]


def _whole(photo: np.ndarray) -> list[View]:
    return [(0, 0, photo.shape[1], photo.shape[0])]


def _zoomed_out(photo: np.ndarray) -> list[View]:
    height, width = photo.shape[:2]
    margin = max(height, width) // 2
    return [(-margin, -margin, width + 2 * margin, height + 2 * margin)]


def _halves(photo: np.ndarray) -> list[View]:
    return _tiles(photo, 2)


def _quarters(photo: np.ndarray) -> list[View]:
    return _tiles(photo, 4)


def _tiles(photo: np.ndarray, count: int) -> list[View]:
    """Squares of 1/count of the longer side, each overlapping the next by half."""
    height, width = photo.shape[:2]
    side = -(-max(height, width) // count)
    xs, ys = (
        sorted({min(start, max(0, n - side)) for start in range(0, n, max(1, side // 2))})
        for n in (width, height)
    )
    return [(x, y, min(side, width - x), min(side, height - y)) for y in ys for x in xs]


def _without_duplicates(faces: list[Face]) -> list[Face]:
    """Drop faces whose centre lies in a larger one's box: overlapping tiles see a face twice."""
    kept: list[Face] = []
    for face in faces:
        x, y, width, height = face.box
        centre = np.array([x + width / 2, y + height / 2])
        boxes = (np.array(other.box) for other in kept)
        if not any(np.all((centre > b[:2]) & (centre < b[:2] + b[2:])) for b in boxes):
            kept.append(face)
    return kept


def _create_landmarker(model: Path, max_faces: int) -> FaceLandmarker:
    with _native_stderr_silenced():
        from mediapipe.tasks.python.core.base_options import BaseOptions
        from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions

        base = BaseOptions(model_asset_path=str(model))
        options = FaceLandmarkerOptions(base_options=base, num_faces=max_faces)
        try:
            return FaceLandmarker.create_from_options(options)
        except OSError as error:
            raise OSError(
                f"MediaPipe lacks a system library ({error}); on Debian and Ubuntu: apt-get "
                "install libgl1 libegl1 libgles2."
            ) from error


def _close(landmarker: FaceLandmarker) -> None:
    try:
        landmarker.close()
    except RuntimeError:
        # The interpreter is exiting: the worker thread is gone, and the process frees the rest.
        # Without its handle, the landmarker does not complain a second time when it is deleted.
        landmarker._handle = None


@contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Hide what MediaPipe's C++ side prints while it starts; no setting of its own does."""
    with _STDERR:
        saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(null)
