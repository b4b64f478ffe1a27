"""From photos to a restored photo, through the real networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gfr import Degradation, InputError, Restorer, degrade
from gfr.device import pick_device, pick_dtype
from gfr.faces import FaceFinder, NoFaceError, align
from gfr.images import ImageError, load_image, to_image, to_tensor
from gfr.restorer import pose_distance

MODERATE = Degradation(blur=2, scale=4, noise=8, jpeg=50)


@pytest.fixture(scope="module")
def degraded(photo: Path) -> np.ndarray:
    """A whole photo, twice as bad as its face crop will be."""
    return degrade(load_image(photo), Degradation(blur=4, scale=6, noise=8, jpeg=60))


def test_a_photo_is_restored_with_a_guide(
    restorer: Restorer, degraded: np.ndarray, guide: Path
) -> None:
    result = restorer.restore(degraded, guide)
    (face,) = result.faces
    assert isinstance(result.image, Image.Image)
    assert result.image.size == (640, 640)
    for image in (face.aligned, face.guide, face.warped, face.restored):
        assert image.shape == (256, 256, 3)
        assert image.dtype == np.uint8
    assert face.flow.shape == (2, 256, 256)
    assert face.flow.dtype == np.float32
    assert face.landmarks.shape == (478, 2)
    assert face.guide_index == 0
    assert set(face.timings_ms) == {"find", "guides", "network", "paste"}
    x, y, width, height = face.box
    whole = np.asarray(result.image)
    inside = whole[int(y) : int(y + height), int(x) : int(x + width)]
    assert not np.array_equal(inside, degraded[int(y) : int(y + height), int(x) : int(x + width)])
    assert np.array_equal(whole[:20], degraded[:20])


def test_the_crop_is_what_alignment_cuts(
    restorer: Restorer, degraded: np.ndarray, guide: Path, finder: FaceFinder
) -> None:
    (face,) = restorer.restore(degraded, guide).faces
    sharp = load_image(guide)
    assert np.array_equal(face.guide, align(sharp, finder.find(sharp)[0].landmarks).image)
    assert np.array_equal(face.aligned, align(degraded, face.landmarks).image)


def test_aligned_faces_go_straight_through(
    restorer: Restorer, crops: list[tuple[Path, Path]]
) -> None:
    bad, good = degrade(load_image(crops[0][0]), MODERATE), load_image(crops[0][1])
    result = restorer.restore(bad, good, aligned=True)
    output = restorer.restore_aligned(to_tensor(bad), to_tensor(good))
    (face,) = result.faces
    assert np.array_equal(np.asarray(result.image), face.restored)
    assert np.array_equal(face.restored, to_image(output.restored))
    assert np.array_equal(face.warped, to_image(output.warped))
    assert np.array_equal(face.flow, output.flow[0].numpy())
    assert face.landmarks is None
    assert face.box == (0, 0, 256, 256)


def test_the_guide_and_its_strength_matter(
    restorer: Restorer, crops: list[tuple[Path, Path]]
) -> None:
    bad = to_tensor(degrade(load_image(crops[0][0]), MODERATE))
    good = to_tensor(load_image(crops[0][1]))
    full, half, none = (restorer.restore_aligned(bad, good, s).restored for s in (1, 0.5, 0))
    without = restorer.restore_aligned(bad, None)
    assert torch.allclose(none, without.restored, atol=1e-3)
    assert (full - none).abs().max() > 1 / 255
    assert (half - none).abs().mean() < (full - none).abs().mean()
    assert torch.allclose(without.warped, bad, atol=1e-4)


def test_a_batch_equals_its_parts(restorer: Restorer, crops: list[tuple[Path, Path]]) -> None:
    bad = torch.cat([to_tensor(load_image(photo)) for photo, _ in crops[:3]])
    good = torch.cat([to_tensor(load_image(guide)) for _, guide in crops[:3]])
    together = restorer.restore_aligned(bad, good).restored
    for i in range(3):
        alone = restorer.restore_aligned(bad[i : i + 1], good[i : i + 1]).restored
        assert torch.allclose(together[i : i + 1], alone, atol=1e-4)


def test_bfloat16_is_the_same_picture(
    restorer: Restorer, weights: Path, crops: list[tuple[Path, Path]]
) -> None:
    quick = Restorer.load("cpu", weights, torch.bfloat16)
    bad, good = degrade(load_image(crops[0][0]), MODERATE), load_image(crops[0][1])
    exact = restorer.restore_aligned(to_tensor(bad), to_tensor(good))
    rounded = quick.restore_aligned(to_tensor(bad), to_tensor(good))
    assert all(tensor.dtype == torch.float32 for tensor in rounded)
    assert (exact.restored - rounded.restored).abs().mean() < 1.5 / 255
    assert (exact.flow - rounded.flow).abs().mean() < 0.5 / 128


def test_of_several_guides_the_closest_in_pose_is_used(
    restorer: Restorer, people: list[tuple[Path, Path]], degraded: np.ndarray
) -> None:
    photo, own = people[0]
    guides = [people[1][0], own, photo, people[2][1]]
    assert restorer.restore(photo, guides).faces[0].guide_index == 2  # the photo itself
    assert restorer.restore(own, guides).faces[0].guide_index == 1
    assert restorer.restore(degraded, []).faces[0].guide_index is None


def test_without_a_guide_the_photo_stands_in(restorer: Restorer, degraded: np.ndarray) -> None:
    (face,) = restorer.restore(degraded).faces
    assert face.guide is None
    assert face.guide_index is None
    assert np.array_equal(face.warped, face.aligned)


def test_threads_may_share_a_restorer(restorer: Restorer, people: list[tuple[Path, Path]]) -> None:
    alone = [restorer.restore(*pair).image for pair in people[:4]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: restorer.restore(*pair).image, people[:4]))
    for a, b in zip(alone, together, strict=True):
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_a_phone_photo_lying_on_its_side_is_restored_upright(
    restorer: Restorer, photo: Path, guide: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(photo).crop((40, 0, 600, 640))
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.png", exif=exif)
    result = restorer.restore(tmp_path / "phone.png", guide)
    expected = restorer.restore(upright, guide)
    assert result.image.size == (560, 640)
    assert np.array_equal(np.asarray(result.image), np.asarray(expected.image))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_photos_of_other_modes_are_restored(
    restorer: Restorer, photo: Path, guide: Path, mode: str
) -> None:
    result = restorer.restore(Image.open(photo).convert(mode), Image.open(guide).convert(mode))
    assert result.image.mode == "RGB"
    assert len(result.faces) == 1


def test_errors_name_the_photo_at_fault(
    restorer: Restorer, photo: Path, guide: Path, landscape: Path, tmp_path: Path
) -> None:
    with pytest.raises(NoFaceError, match=r"landscape\.png"):
        restorer.restore(landscape, guide)
    with pytest.raises(NoFaceError, match="guide 2"):
        restorer.restore(photo, [guide, load_image(landscape)])
    with pytest.raises(NoFaceError, match="the photo"):
        restorer.restore(load_image(landscape), guide)
    with pytest.raises(ImageError, match="640×640"):
        restorer.restore(photo, guide, aligned=True)
    with pytest.raises(ImageError, match="no file"):
        restorer.restore(tmp_path / "missing.png", guide)
    with pytest.raises(InputError, match="strength"):
        restorer.restore(photo, guide, strength=1.5)


@pytest.mark.parametrize(
    ("degraded_shape", "guide_shape"),
    [((3, 256, 256), None), ((1, 3, 128, 128), None), ((2, 3, 256, 256), (1, 3, 256, 256))],
)
def test_wrong_shapes_are_refused(
    restorer: Restorer, degraded_shape: tuple[int, ...], guide_shape: tuple[int, ...] | None
) -> None:
    guide = None if guide_shape is None else torch.zeros(guide_shape)
    with pytest.raises(ValueError, match=r"N×3×256×256|shape"):
        restorer.restore_aligned(torch.zeros(degraded_shape), guide)


def test_devices_and_types() -> None:
    assert pick_dtype(torch.device("cpu")) in (torch.float32, torch.bfloat16)
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="auto, cpu or cuda"):
        pick_device("tpu")
    if torch.cuda.is_available():
        assert pick_device("auto").type == "cuda"
    else:
        assert pick_device("auto").type == "cpu"
        with pytest.raises(InputError, match="no CUDA"):
            pick_device("cuda")


@given(
    scale=st.floats(0.01, 100),
    angle=st.floats(-3.2, 3.2),
    shift=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
)
def test_pose_distance_ignores_place_size_and_tilt(
    scale: float, angle: float, shift: tuple[float, float]
) -> None:
    points = np.random.default_rng(0).normal(size=(478, 2)) * 100
    c, s = np.cos(angle), np.sin(angle)
    moved = points @ np.array([[c, s], [-s, c]]) * scale + shift
    assert pose_distance(points, moved) < 1e-6
    squeezed = points * (0.5, 1)  # as a turned head
    assert pose_distance(points, squeezed) > 0.1
