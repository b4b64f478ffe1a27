"""The degradation model: blur, downsampling, noise, JPEG, and back up to size.

``I_d = ( JPEG_q( (I * k_σ) ↓_s + n_σ ) ) ↑_s``  (GFRNet, ECCV 2018, section 3.3, eq. 6)

The page, the CLI and the trainer all degrade with this one function. It runs on uint8 arrays with
OpenCV, well under 10 ms for a 256×256 image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

import cv2
import numpy as np


@dataclass(frozen=True)
class Degradation:
    """Strengths of the four steps; the defaults turn every step off.

    Each field is checked on construction: a value outside its range raises ``ValueError``.
    """

    blur: float = field(default=0.0, metadata={"range": (0, 16), "unit": "px"})
    """Standard deviation of the Gaussian blur, in pixels of the image. 0 is off."""
    scale: float = field(default=1.0, metadata={"range": (1, 32), "unit": "×"})
    """Downsampling factor. 1 is off."""
    noise: float = field(default=0.0, metadata={"range": (0, 100), "unit": "levels"})
    """Standard deviation of the Gaussian noise at the low resolution, levels of 255. 0 is off."""
    jpeg: int | None = field(default=None, metadata={"range": (1, 100), "unit": "quality"})
    """JPEG quality at the low resolution. None is off."""
    seed: int = field(default=0, metadata={"range": (0, 2**63 - 1), "unit": ""})
    """Seed of the noise: equal seeds give equal pictures."""
    motion: float = field(default=0.0, metadata={"range": (0, 64), "unit": "px"})
    """Length of a straight motion blur, in pixels. 0 is off."""
    motion_angle: float = field(default=0.0, metadata={"range": (-360, 360), "unit": "°"})
    """Direction of the motion blur, degrees counter-clockwise from the x axis."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value, (low, high) = getattr(self, f.name), f.metadata["range"]
            if value is None and f.name == "jpeg":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise ValueError(f"{f.name} must be a number, not {value!r}.")
            if not low <= value <= high:
                raise ValueError(f"{f.name} must lie in {low}…{high}, not {value}.")
            if f.name in ("jpeg", "seed") and int(value) != value:
                raise ValueError(f"{f.name} must be a whole number, not {value}.")

    @property
    def is_identity(self) -> bool:
        """True when every step is off."""
        off = self.blur == 0 and self.motion == 0 and self.scale == 1 and self.noise == 0
        return off and self.jpeg is None


def degrade(image: np.ndarray, degradation: Degradation) -> np.ndarray:
    """Degrade an image.

    Args:
        image: H×W×3 uint8 RGB.
        degradation: the strengths; blur and motion are in pixels of ``image``.

    Returns:
        H×W×3 uint8 RGB, the size of the input. The input is not changed.

    Raises:
        ValueError: the image is not H×W×3 uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"degrade needs an H×W×3 uint8 image, not {image.shape} {image.dtype}.")
    d = degradation
    height, width = image.shape[:2]
    low = image.astype(np.float32)
    if d.motion > 0:
        low = cv2.filter2D(low, -1, motion_kernel(d.motion, d.motion_angle))
    if d.blur > 0:
        low = cv2.GaussianBlur(low, (0, 0), d.blur, borderType=cv2.BORDER_REFLECT_101)
    if d.scale > 1:
        size = (max(1, round(width / d.scale)), max(1, round(height / d.scale)))
        low = cv2.resize(low, size, interpolation=cv2.INTER_AREA)
    if d.noise > 0:
        rng = np.random.default_rng(int(d.seed))
        low = low + d.noise * rng.standard_normal(low.shape, dtype=np.float32)
    low = np.clip(np.rint(low), 0, 255).astype(np.uint8)
    if d.jpeg is not None:
        low = _jpeg(low, int(d.jpeg))
    if low.shape != image.shape:
        low = cv2.resize(low, (width, height), interpolation=cv2.INTER_CUBIC)
    return low


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """A k×k float32 kernel summing to 1: an antialiased line through the centre.

    Args:
        length: length of the line, in pixels.
        angle: degrees counter-clockwise from the x axis.
    """
    half = max(1, int(np.ceil(length / 2)))
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    along, across = x * c - y * s, x * s + y * c
    kernel = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"OpenCV could not encode a {image.shape} image as JPEG.")
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _paper(rng: np.random.Generator) -> Degradation:
    """The paper's own ranges (section 3.3): every parameter uniform over its set."""
    return Degradation(
        blur=float(rng.choice([0, *np.linspace(1, 3, 21)])),
        scale=float(rng.uniform(1, 8)),
        noise=float(rng.uniform(0, 7)),
        jpeg=None if rng.random() < 1 / 32 else int(rng.integers(10, 41)),
        seed=int(rng.integers(2**31)),
    )


def _heavy(rng: np.random.Generator) -> Degradation:
    """Harder and almost never clean, so that a network cannot do without the guide."""
    blurred = rng.random() < 0.75
    moved = rng.random() < 0.15
    return Degradation(
        blur=float(rng.uniform(0.5, 5)) if blurred else 0.0,
        scale=float(rng.uniform(1, 12)) if rng.random() < 0.95 else 1.0,
        noise=float(rng.uniform(1, 20)) if rng.random() < 0.75 else 0.0,
        jpeg=int(rng.integers(20, 71)) if rng.random() < 0.75 else None,
        seed=int(rng.integers(2**31)),
        motion=float(rng.uniform(3, 15)) if moved else 0.0,
        motion_angle=float(rng.uniform(-90, 90)),
    )


def _null(rng: np.random.Generator) -> Degradation:
    """Next to nothing is left but pose and colour: only the guide can help."""
    return Degradation(
        blur=float(rng.uniform(4, 8)),
        scale=float(rng.uniform(8, 16)),
        noise=float(rng.uniform(5, 20)),
        jpeg=int(rng.integers(20, 51)),
        seed=int(rng.integers(2**31)),
    )


PRESETS: dict[str, Callable[[np.random.Generator], Degradation]] = {
    "paper": _paper,
    "heavy": _heavy,
    "null": _null,
}


def sample_degradation(rng: np.random.Generator, preset: str = "heavy") -> Degradation:
    """Draw a random degradation for a 256×256 face.

    Args:
        rng: the only source of randomness; its state alone decides the result.
        preset: "paper" (the paper's ranges), "heavy" (harder, under 1 % clean) or "null"
            (close to nothing left).

    Raises:
        ValueError: no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"No degradation preset {preset!r}; there are {', '.join(PRESETS)}.")
    return PRESETS[preset](rng)
