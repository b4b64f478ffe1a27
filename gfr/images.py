"""Images in and out: whatever a person's photo file holds becomes RGB, upright, 8 bits, sRGB."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from gfr.errors import InputError
from gfr.files import replacing

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 100_000_000
ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

# The limit above and the errors below take the place of Pillow's warnings.
warnings.filterwarnings("ignore", module=r"PIL\.")

# What Pillow's decoders raise on damaged files.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


class ImageError(InputError):
    """An image cannot be read or written; the message is one sentence."""


def load_image(source: ImageSource, name: str | None = None) -> np.ndarray:
    """Read an image as a person would see it.

    The EXIF rotation is applied, transparency is laid on white, an embedded colour profile is
    converted to sRGB, and grey, palette, CMYK and 16-bit images become 8-bit RGB. Of an animation
    the first frame is taken.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array: H×W, H×W×3 (RGB)
            or H×W×4 (RGBA), uint8.
        name: what error messages call the image; by default its path, or "The image".

    Returns:
        H×W×3 uint8 RGB, contiguous.

    Raises:
        ImageError: there is no such file, it is not an image, it is damaged, or it has more than
            100 megapixels.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "The image")
    if isinstance(source, Image.Image):
        return _from_pillow(source, name or "The image")
    file = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    name = name or ("The image" if isinstance(source, bytes) else str(source))
    with _opened(file, name) as image:
        return _from_pillow(image, name)


def check_image(path: str | os.PathLike[str]) -> None:
    """Check, before any work is done, that a file is an image; only its header is read.

    Raises:
        ImageError: as for :func:`load_image`, save for damage further inside.
    """
    with _opened(Path(path), str(path)) as image:
        _check_size(*image.size, str(path))


def save_image(path: str | os.PathLike[str], image: np.ndarray | Image.Image) -> None:
    """Write an RGB image (H×W×3 uint8, or Pillow) in the format that the suffix names.

    It is written under a temporary name and renamed. JPEG and WebP are written at quality 95.

    Raises:
        ImageError: the suffix names no image format, or the file cannot be written.
    """
    check_output(path)
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    options = {} if Path(path).suffix.lower() == ".png" else {"quality": 95}
    try:
        with replacing(path) as temporary:
            image.save(temporary, **options)
    except (OSError, ValueError) as error:  # a ValueError where the format has no room for the size
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} could not be written: {reason}.") from error


def check_output(path: str | os.PathLike[str]) -> None:
    """Check, before any work is done, that an image can be written to ``path``.

    Raises:
        ImageError: the suffix names no image format, the folder does not exist or is read-only,
            or ``path`` is itself a folder.
    """
    path = Path(path)
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ImageError(f"{path} must end in an image suffix such as .png or .jpg.")
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name the image file to write.")
    if not path.parent.is_dir():
        raise ImageError(f"The folder {path.parent} does not exist.")
    if not os.access(path.parent, os.W_OK):
        raise ImageError(f"The folder {path.parent} cannot be written to.")


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """H×W×3 uint8 to 1×3×H×W float32 in [0, 1]."""
    import torch

    return torch.from_numpy(image).permute(2, 0, 1)[None].float().div_(255)


def to_image(tensor: torch.Tensor) -> np.ndarray:
    """3×H×W or 1×3×H×W floats in [0, 1], on any device, to H×W×3 uint8; values are clamped."""
    pixels = tensor.detach().float().reshape(tensor.shape[-3:])
    pixels = pixels.clamp(0, 1).mul(255).round().byte()
    return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())


def _opened(file: Path | io.BytesIO, name: str) -> Image.Image:
    if isinstance(file, Path) and not file.exists():
        raise ImageError(f"There is no file {name}.")
    if isinstance(file, Path) and file.is_dir():
        raise ImageError(f"{name} is a folder, not an image.")
    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name)) from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read: permission denied.") from error
    except _DECODE_ERRORS as error:
        raise ImageError(
            f"{name} is not an image in a format that can be read; save it as JPEG or PNG."
        ) from error


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.dtype != np.uint8:
        raise ImageError(
            f"{name} must be an H×W, H×W×3 or H×W×4 uint8 array, not {array.shape} {array.dtype}."
        )
    if array.ndim == 3 and channels == 3:
        _check_size(array.shape[1], array.shape[0], name)
        return np.ascontiguousarray(array)
    if array.size == 0:
        raise ImageError(f"{name} is empty.")
    return _from_pillow(
        Image.fromarray(array.squeeze(2) if array.shape[2:] == (1,) else array), name
    )


def _from_pillow(image: Image.Image, name: str) -> np.ndarray:
    _check_size(*image.size, name)
    try:
        image.load()
        # Asked first, since exif_transpose copies an upright image too: 400 MB at 100 megapixels.
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return np.array(_to_srgb(image, name))
    except _DECODE_ERRORS as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name} is damaged and cannot be decoded ({error}).") from error


def _to_srgb(image: Image.Image, name: str) -> Image.Image:
    """Any Pillow mode to RGB."""
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point pixels; save it with 8 or 16 bits.")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name} holds more than 16 bits per pixel; save it with 8 or 16.")
        image = Image.fromarray((values.astype(np.float32) / 257).round().astype(np.uint8))
    profile = image.info.get("icc_profile")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _apply_profile(image, profile)
    image = image if image.mode == "RGB" else image.convert("RGB")
    if alpha is not None:
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=alpha)
        return white
    return image


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image  # a broken profile, or one for another colour space: as browsers do, ignore it


def _check_size(width: int, height: int, name: str) -> None:
    if width == 0 or height == 0:
        raise ImageError(f"{name} is empty.")
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(name))


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels; make it smaller first."
