"""The faces a visitor works with: found once per upload, forgotten with the session."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gfr.alignment import ffhq_transform
from gfr.errors import InputError
from gfr.images import load_image
from gfr.restorer import FaceResult, Restorer

_KEEP = 8  # subjects per session: enough to go back and forth between a few photos


@dataclass(frozen=True, eq=False)
class Subject:
    """The largest face of a photo."""

    crop: np.ndarray
    """256×256×3 uint8 RGB, aligned."""
    landmarks: np.ndarray
    """478×2 float32, (x, y) in pixels of the crop, continuous as in ``gfr.faces``."""


@dataclass(frozen=True, eq=False)
class Steps:
    """What the four panels show of one restored face; landmarks are in pixels of the crops."""

    degraded: np.ndarray
    guide: np.ndarray | None
    warped: np.ndarray
    flow: np.ndarray
    restored: np.ndarray
    landmarks: np.ndarray | None = None
    guide_landmarks: np.ndarray | None = None

    @classmethod
    def of(cls, face: FaceResult) -> Steps:
        """The steps of a face that ``Restorer.restore`` restored."""
        points = face.landmarks
        if points is not None:
            points = to_crop(points, ffhq_transform(points))
        return cls(face.aligned, face.guide, face.warped, face.flow, face.restored, points)


@dataclass
class Session:
    """What one visitor works with; it lives and dies in that visitor's ``gr.State``."""

    subjects: OrderedDict[str, Subject] = field(default_factory=OrderedDict)
    """Faces found, by the path of the uploaded file."""
    restored: Steps | None = None
    """The last face restored under "Restore my photo", to draw its flow in another style."""


def read_upload(path: str | Path, name: str) -> np.ndarray:
    """Read an uploaded picture as H×W×3 uint8 RGB; ``name`` is what error messages call it.

    Raises:
        InputError: it is not an image, or it was deleted since.
    """
    if not Path(path).is_file():
        raise InputError("This upload has expired; add the picture again.")
    return load_image(path, name=name)


def read_subject(restorer: Restorer, path: str | Path, what: str) -> Subject:
    """Find and align the largest face of a photo.

    Args:
        restorer: its face finder is used.
        path: the photo.
        what: what error messages call the photo, such as "guide".

    Raises:
        InputError: the file is not an image, or shows no face.
    """
    face, aligned = restorer.find_face(read_upload(path, f"The {what}"), f"the {what}")
    return Subject(aligned.image, to_crop(face.landmarks, aligned.matrix))


def subject(session: Session | None, restorer: Restorer, path: str | Path, what: str) -> Subject:
    """As :func:`read_subject`, but in a session each file is read once."""
    key = str(path)
    if session is None:
        return read_subject(restorer, key, what)
    if key not in session.subjects:
        session.subjects[key] = read_subject(restorer, key, what)
        while len(session.subjects) > _KEEP:
            session.subjects.popitem(last=False)
    return session.subjects[key]


def to_crop(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """N×2 points of the photo to points of the crop; ``matrix`` as in ``gfr.alignment``."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
