"""Whatever a person's photo file holds, it becomes upright 8-bit RGB, or one clear sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from gfr.files import replacing
from gfr.images import (
    ImageError,
    check_image,
    check_output,
    load_image,
    save_image,
    to_image,
    to_tensor,
)

# Outside of tests, gfr.images has these warnings off itself.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corner(size: tuple[int, int] = (8, 6)) -> Image.Image:
    """White, with a red pixel block in the top left corner."""
    image = Image.new("RGB", size, WHITE)
    image.paste(RED, (0, 0, 2, 2))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    upright = corner()
    # What a camera stores so that showing it by the tag gives `upright`.
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(encoded(stored, exif=exif))
    assert np.array_equal(loaded, np.asarray(upright))


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((1, 1), (255, 0, 0, 255))
    image.putpixel((2, 2), (0, 0, 0, 127))
    loaded = load_image(encoded(image))
    assert tuple(loaded[0, 0]) == WHITE
    assert tuple(loaded[1, 1]) == RED
    assert tuple(loaded[2, 2]) == (128, 128, 128)


def test_palette_with_a_transparent_entry() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 1), 1)
    loaded = load_image(encoded(image, transparency=0))
    assert tuple(loaded[0, 0]) == WHITE
    assert tuple(loaded[1, 1]) == GREEN


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_becomes_three_equal_channels(mode: str) -> None:
    loaded = load_image(encoded(corner().convert(mode)))
    assert loaded.shape == (6, 8, 3)
    assert np.array_equal(loaded[..., 0], loaded[..., 1])
    assert np.array_equal(loaded[..., 0], loaded[..., 2])
    assert loaded[5, 7, 0] == 255


def test_sixteen_bit_grey_is_scaled() -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    loaded = load_image(encoded(Image.fromarray(values)))
    assert loaded[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_jpeg_keeps_its_colours(photo: Path) -> None:
    rgb = Image.open(photo).convert("RGB")
    loaded = load_image(encoded(rgb.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(loaded.astype(int) - np.asarray(rgb)).mean() < 3


def test_an_embedded_colour_profile_is_converted_to_srgb() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The same profile with red and green exchanged, under another name.
    other = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    other = other.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    red = Image.new("RGB", (4, 4), RED)
    assert tuple(load_image(encoded(red, icc_profile=profile))[0, 0]) == RED
    assert np.abs(load_image(encoded(red, icc_profile=other))[0, 0].astype(int) - GREEN).max() < 4


def test_a_broken_colour_profile_is_ignored() -> None:
    assert tuple(load_image(encoded(corner(), icc_profile=b"no profile"))[0, 0]) == RED


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert tuple(load_image(data)[0, 0]) == RED


def test_arrays_and_pillow_images_are_taken_too() -> None:
    image = corner()
    array = np.asarray(image)
    assert np.array_equal(load_image(array), array)
    assert np.array_equal(load_image(image), array)
    assert load_image(array[..., 0]).shape == (6, 8, 3)
    assert load_image(array[..., :1]).shape == (6, 8, 3)
    assert tuple(load_image(np.zeros((2, 2, 4), np.uint8))[0, 0]) == WHITE


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError):
        load_image(array)


def test_files_that_are_no_images_are_named(tmp_path: Path, photo: Path) -> None:
    text, empty, cut = (tmp_path / name for name in ("notes.jpg", "empty.png", "cut.jpg"))
    text.write_text("not an image")
    empty.touch()
    cut.write_bytes(photo.read_bytes()[:20000])
    for path, reason in [
        (tmp_path / "missing.png", "no file"),
        (tmp_path, "folder"),
        (text, "format"),
        (empty, "format"),
        (cut, "damaged"),
    ]:
        with pytest.raises(ImageError, match=reason) as caught:
            load_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [10_001, 20_000])
def test_more_than_100_megapixels_are_refused(tmp_path: Path, side: int) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (side, 10_000)).save(path, compress_level=1)
    for read in (load_image, check_image):
        with pytest.raises(ImageError, match="100 megapixels"):
            read(path)


def test_100_megapixels_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 10_000)).save(path, compress_level=1)
    check_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_a_damaged_file_gives_an_image_or_an_image_error(kind: str, photo: Path) -> None:
    good = encoded(Image.open(photo).resize((48, 48)), kind)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(good) - 1), st.binary(min_size=1, max_size=8))
    def damage(at: int, junk: bytes) -> None:
        try:
            image = load_image(good[:at] + junk + good[at + len(junk) :])
        except ImageError:
            return
        assert image.dtype == np.uint8
        assert image.ndim == 3

    damage()


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "result.png"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_saved_images_come_back(tmp_path: Path) -> None:
    image = np.asarray(corner())
    save_image(tmp_path / "a.png", image)
    save_image(tmp_path / "a.jpg", image)
    assert np.array_equal(load_image(tmp_path / "a.png"), image)
    assert load_image(tmp_path / "a.jpg").shape == image.shape
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "a.jpg"}


def test_outputs_are_checked_beforehand(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path in ("a", "a.txt", "a.psd", "missing/a.png", "folder.png"):
        with pytest.raises(ImageError):
            check_output(tmp_path / path)
    check_output(tmp_path / "A.JPG")


def test_tensors_round_trip_exactly() -> None:
    image = np.arange(256 * 3, dtype=np.uint32).reshape(16, 16, 3).astype(np.uint8)
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.min() >= 0 and tensor.max() <= 1
    assert np.array_equal(to_image(tensor), image)
    assert np.array_equal(to_image(tensor[0] * 3 - 1), to_image((tensor * 3 - 1).clamp(0, 1)))


def test_a_picture_too_wide_for_its_format_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ImageError, match="16383"):
        save_image(tmp_path / "wide.webp", np.zeros((4, 17000, 3), np.uint8))
    assert not list(tmp_path.iterdir())
