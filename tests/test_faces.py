"""Faces are found, cut out upright to the pixel, and put back without a trace elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfr.alignment import LEFT_EYE, MOUTH, RIGHT_EYE
from gfr.degradation import Degradation, degrade
from gfr.faces import FaceFinder, align, ffhq_transform, paste
from gfr.images import load_image

BENCH = Path(__file__).resolve().parents[2] / "shared" / "bench"


def landmarks_for(side: float, centre: tuple[float, float], degrees: float = 0) -> np.ndarray:
    """Mesh points whose crop has this side, centre and turn: only eyes and mouth matter."""
    down = 0.2 * side
    points = np.zeros((478, 2))
    points[LEFT_EYE] = -side / 8, -0.1 * down
    points[RIGHT_EYE] = side / 8, -0.1 * down
    points[MOUTH] = 0, 0.9 * down
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return points @ np.array([[c, s], [-s, c]]) + centre


def transformed(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def test_every_example_shows_one_face(finder: FaceFinder, people: list[tuple[Path, Path]]) -> None:
    for path in (path for pair in people for path in pair):
        image = load_image(path)
        faces = finder.find(image)
        assert len(faces) == 1
        assert faces[0].landmarks.shape == (478, 2)
        assert faces[0].landmarks.dtype == np.float32
        x, y, width, height = faces[0].box
        assert 0 < x < x + width < image.shape[1]
        assert 0 < y < y + height < image.shape[0]


def test_several_faces_come_largest_first(
    finder: FaceFinder, people: list[tuple[Path, Path]]
) -> None:
    group = np.full((640, 1120, 3), 90, np.uint8)
    small, large = (load_image(photo) for photo, _ in people[:2])
    group[160:640, :480] = cv2.resize(small, (480, 480), interpolation=cv2.INTER_AREA)
    group[:, 480:] = large
    faces = finder.find(group)
    assert len(faces) == 2
    assert faces[0].box[0] > 480 > faces[1].box[0]
    assert faces[0].box[2] > faces[1].box[2]


@pytest.mark.parametrize("shape", [(300, 400), (1, 1), (1, 3000), (5000, 3)])
def test_no_face_is_an_empty_list(finder: FaceFinder, shape: tuple[int, int]) -> None:
    assert finder.find(np.full((*shape, 3), 80, np.uint8)) == []


def test_a_small_face_in_a_large_photo_is_found_in_place(finder: FaceFinder, photo: Path) -> None:
    face = cv2.resize(load_image(photo), (260, 260), interpolation=cv2.INTER_AREA)
    large = np.full((2400, 3200, 3), 120, np.uint8)
    large[1500:1760, 2000:2260] = face
    (found,) = finder.find(large)
    (alone,) = finder.find(face)
    assert np.abs(found.landmarks - alone.landmarks - (2000, 1500)).mean() < 4


def test_degraded_faces_are_found(finder: FaceFinder, crops: list[tuple[Path, Path]]) -> None:
    moderate = Degradation(blur=2, scale=4, noise=8, jpeg=50)
    for path, _ in crops:
        sharp = load_image(path)
        (truth,) = finder.find(sharp)
        faces = finder.find(degrade(sharp, moderate))
        assert faces
        assert np.linalg.norm(faces[0].landmarks - truth.landmarks, axis=1).mean() < 0.05 * 256


def test_threads_may_share_a_finder(finder: FaceFinder, people: list[tuple[Path, Path]]) -> None:
    images = [load_image(path) for pair in people for path in pair]
    alone = [finder.find(image)[0].landmarks for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: finder.find(image)[0].landmarks, images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@given(
    side=st.floats(20, 5000),
    x=st.floats(-500, 5000),
    y=st.floats(-500, 5000),
    degrees=st.floats(-180, 180),
)
def test_the_transform_finds_side_centre_and_turn(
    side: float, x: float, y: float, degrees: float
) -> None:
    points = landmarks_for(side, (x, y), degrees)
    matrix = ffhq_transform(points)
    assert transformed(np.array([x, y]), matrix) == pytest.approx([128, 128], abs=1e-6)
    assert np.hypot(*matrix[0, :2]) == pytest.approx(256 / side)
    # Cutting out what is cut out already changes nothing.
    again = ffhq_transform(transformed(points, matrix))
    assert again == pytest.approx(np.eye(2, 3), abs=1e-6)


def test_the_transform_follows_the_ffhq_rule() -> None:
    files = sorted(BENCH.glob("*_lm.npy"))
    if not files:
        pytest.skip(f"{BENCH}, with faces aligned elsewhere, is not on this machine")
    for file in files:
        points = np.load(file).astype(float)
        corners = transformed(
            np.array([[0, 0], [256, 0], [256, 256], [0, 256]]), ffhq_transform(points)
        )
        assert np.abs(corners - [[0, 0], [256, 0], [256, 256], [0, 256]]).max() < 2


def test_an_aligned_photo_is_cut_out_unchanged(crops: list[tuple[Path, Path]]) -> None:
    image = load_image(crops[0][0])
    cut = align(image, landmarks_for(256, (128, 128)))
    assert cut.matrix == pytest.approx(np.eye(2, 3))
    assert np.array_equal(cut.image, image)


@pytest.mark.parametrize("scale", [1.3, 2.0, 3.7, 9.0])
def test_a_large_face_is_averaged_down(scale: float) -> None:
    y, x = np.mgrid[0:2600, 0:2600]
    finest = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    points = landmarks_for(256 * scale, (1300, 1300), degrees=7)
    crop = align(finest, points).image.astype(float)
    # A checkerboard of single pixels is grey from afar; an aliased one is patterned.
    limit = 64 if scale < 2 else 12
    assert crop.std() < limit
    assert abs(crop.mean() - 127.5) < 2


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7, 4.3])
def test_alignment_is_exact_to_a_fraction_of_a_pixel(scale: float) -> None:
    centre = np.array([700.3, 650.8])
    side = 256 * scale
    spot = centre + np.array([0.21, -0.17]) * side  # a blob off the centre
    y, x = np.mgrid[0:1400, 0:1500] + 0.5
    sigma = max(2.0, 6 * scale)
    blob = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * sigma**2))
    photo = np.repeat(blob.astype(np.uint8)[..., None], 3, axis=2)
    cut = align(photo, landmarks_for(side, tuple(centre), degrees=12))
    weight = cut.image[..., 0].astype(float)
    v, u = np.mgrid[0:256, 0:256] + 0.5
    seen = np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()
    assert seen == pytest.approx(transformed(spot, cut.matrix), abs=0.1)


def test_a_face_over_the_edge_is_cut_out_with_the_photo_mirrored(photo: Path) -> None:
    image = load_image(photo)
    crop = align(image, landmarks_for(500, (20, 300))).image
    assert crop.shape == (256, 256, 3)
    assert crop[:, :40].std() > 5  # no flat border
    outside = align(image, landmarks_for(100, (-400, -400))).image
    assert outside.shape == (256, 256, 3)


def test_pasting_changes_only_the_face(finder: FaceFinder, photo: Path) -> None:
    image = load_image(photo)
    before = image.copy()
    (face,) = finder.find(image)
    cut = align(image, face.landmarks)
    pasted = paste(image, np.full_like(cut.image, 255), cut.matrix)
    assert np.array_equal(image, before)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]] + 0.5
    inside = transformed(np.stack([x, y], axis=-1), cut.matrix)
    outside = ((inside < -1) | (inside > 257)).any(-1)
    middle = ((inside > 40) & (inside < 216)).all(-1)
    assert np.array_equal(pasted[outside], image[outside])
    assert (pasted[middle] == 255).all()
    assert middle.sum() > 10000


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_a_crop_pasted_back_lies_where_it_was(scale: float, photo: Path) -> None:
    image = cv2.GaussianBlur(load_image(photo), (0, 0), 8 * max(1, scale))
    cut = align(image, landmarks_for(200 * scale, (300.4, 310.7), degrees=-9))
    pasted = paste(image, cut.image, cut.matrix)
    difference = np.abs(pasted.astype(int) - image)
    assert difference.mean() < 0.3
    assert difference.max() <= 4


def test_a_huge_face_is_pasted_in_bands_without_seams() -> None:
    photo = np.full((3000, 3000, 3), 100, np.uint8)
    cut = align(photo, landmarks_for(2800, (1500, 1500), degrees=5))
    assert np.array_equal(paste(photo, cut.image, cut.matrix), photo)
