"""Alignment: a face cut out of a photo upright, and put back into it.

Coordinates here are continuous: x first, a pixel ``i`` covers ``[i, i + 1)``, so its centre lies at
``i + 0.5``, and a photo W pixels wide reaches from 0 to W.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIZE = 256
"""Side of an aligned face, in pixels."""

# MediaPipe's face mesh: the contours of the eyes (image left, image right), the mouth's corners.
LEFT_EYE = [33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7]
RIGHT_EYE = [263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249]
MOUTH = [61, 291]

_FEATHER = 0.12  # width of the pasted face's soft edge, as a share of its side
_BAND = 256  # rows pasted at a time, so that a huge face needs little memory


@dataclass(frozen=True, eq=False)
class Aligned:
    """A face cut out upright."""

    image: np.ndarray
    """size×size×3 uint8 RGB."""
    matrix: np.ndarray
    """2×3 float64 similarity: photo coordinates to crop coordinates."""


def ffhq_transform(landmarks: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The similarity that cuts a face out by the rule of the FFHQ data set.

    The crop's centre lies a tenth of the way from the eyes to the mouth, its side is
    ``2 · max(2.0 · eye distance, 1.8 · eye-to-mouth distance)``, and it is turned upright by the
    eye line and the eye-to-mouth line together (Karras et al., CVPR 2019, appendix).

    Args:
        landmarks: N×2, N ≥ 468, face-mesh points in pixels of the photo.
        size: side of the crop in pixels.

    Returns:
        2×3 float64, photo coordinates to crop coordinates.
    """
    points = np.asarray(landmarks, np.float64)
    left, right, mouth = (points[i].mean(0) for i in (LEFT_EYE, RIGHT_EYE, MOUTH))
    eyes = (left + right) / 2
    across, down = right - left, mouth - eyes
    x_axis = across + np.array([down[1], -down[0]])
    x_axis /= np.hypot(*x_axis)
    side = 2 * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    rows = np.array([x_axis, [-x_axis[1], x_axis[0]]]) * size / side
    return np.column_stack([rows, size / 2 - rows @ (eyes + 0.1 * down)])


def align(photo: np.ndarray, landmarks: np.ndarray, size: int = SIZE, margin: int = 0) -> Aligned:
    """Cut a face out upright.

    A face larger than the crop is averaged down, so nothing aliases; beyond the photo's edges the
    photo is mirrored.

    Args:
        photo: H×W×3 uint8 RGB.
        landmarks: N×2, N ≥ 468, face-mesh points in pixels of the photo.
        size: side of the crop in pixels, margins included.
        margin: pixels of context on each side around what :func:`ffhq_transform` cuts.
    """
    matrix = ffhq_transform(landmarks, size - 2 * margin)
    matrix[:, 2] += margin
    left, top, right, bottom = _crop_bounds(matrix, size, photo.shape)
    region = photo[top:bottom, left:right]
    to_region = _inverse(matrix)
    to_region[:, 2] -= left, top
    scale = np.hypot(*matrix[0, :2])
    if scale <= 0.5:
        small = shrunk(region, 1 / np.floor(1 / scale))
        to_region *= np.array(
            [[small.shape[1] / region.shape[1]], [small.shape[0] / region.shape[0]]]
        )
        region = small
    fine = 2 if scale < 1 else 1  # what is still shrunk is drawn at twice the size, then averaged
    to_region[:, :2] /= fine
    # OpenCV mirrors back and forth until it meets the image: endlessly, if that is one pixel wide.
    border = cv2.BORDER_REFLECT_101 if min(region.shape[:2]) > 8 else cv2.BORDER_REPLICATE
    image = cv2.warpAffine(
        region,
        _to_indices(to_region),
        (size * fine, size * fine),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    if fine > 1:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return Aligned(image, matrix)


def paste(photo: np.ndarray, restored: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Put a restored face back where :func:`align` took it from, with a soft edge.

    Args:
        photo: H×W×3 uint8 RGB; it is not changed.
        restored: the face, size×size×3 uint8 RGB.
        matrix: 2×3, photo coordinates to the face's, from :func:`align`.

    Returns:
        H×W×3 uint8 RGB.
    """
    size = restored.shape[0]
    left, top, right, bottom = _crop_bounds(matrix, size, photo.shape)
    scale = np.hypot(*matrix[0, :2])
    if scale > 1:
        restored = shrunk(restored, 1 / scale)
    matrix = matrix * (restored.shape[0] / size)
    ramp = _soft_edge(restored.shape[0])
    mask = np.outer(ramp, ramp)
    result = photo.copy()
    for y in range(top, bottom, _BAND):
        band = result[y : min(y + _BAND, bottom), left:right]
        to_face = matrix.copy()
        to_face[:, 2] += matrix[:, :2] @ (left, y)
        face = _sample(restored, to_face, band.shape, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        share = _sample(mask, to_face, band.shape, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)[..., None]
        band[:] = np.rint(band + share * (face.astype(np.float32) - band)).astype(np.uint8)
    return result


def shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    """The image shrunk by averaging; unchanged from scale 1 on."""
    if scale >= 1:
        return image
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]


def _to_indices(matrix: np.ndarray) -> np.ndarray:
    """From continuous coordinates to OpenCV's, where whole numbers are the pixels' centres."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2].sum(1) * 0.5 - 0.5
    return shifted


def _crop_bounds(
    matrix: np.ndarray, size: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the crop's bounding box in the photo, never empty."""
    corners = np.array([[0, 0, 1], [size, 0, 1], [size, size, 1], [0, size, 1]])
    points = corners @ _inverse(matrix).T
    limit = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(points.min(0)).astype(int) - 2, 0, limit - 1)
    high = np.clip(np.ceil(points.max(0)).astype(int) + 2, low + 1, limit)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _sample(
    image: np.ndarray, to_image: np.ndarray, shape: tuple[int, ...], how: int, border: int
) -> np.ndarray:
    """Draw ``image`` on a canvas of ``shape``; ``to_image`` maps canvas to image coordinates."""
    size = (shape[1], shape[0])
    flags = how | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, _to_indices(to_image), size, flags=flags, borderMode=border)


def _soft_edge(size: int) -> np.ndarray:
    """0 at both ends, 1 in the middle, smooth between: one side of the paste's mask."""
    position = (np.arange(size, dtype=np.float32) + 0.5) / size
    edge = np.clip(np.minimum(position, 1 - position) / _FEATHER, 0, 1)
    return edge * edge * (3 - 2 * edge)
