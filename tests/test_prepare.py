"""Preparation of training data from folders of real photos, bad ones among them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from gfr.alignment import align
from gfr.faces import FaceFinder
from gfr.images import load_image, save_image
from training.frontal import frontality
from training.prepare import GUIDES, LOG, main, prepare
from training.sources import list_photos

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def source(
    people: list[tuple[Path, Path]],
    landscape: Path,
    finder: FaceFinder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Three people; the first one's folder also holds one photo for every reason to skip it."""
    root = tmp_path_factory.mktemp("photos")
    for i, pair in enumerate(people[:3]):
        (root / f"person-{i}" / "album").mkdir(parents=True)
        shutil.copy(pair[0], root / f"person-{i}" / "photo.jpg")
        shutil.copy(pair[1], root / f"person-{i}" / "album" / "smile.jpg")
    first = root / "person-0"
    photo, other = load_image(people[0][0]), load_image(people[3][0])
    shutil.copy(landscape, first / "landscape.png")
    (first / "notes.txt").write_text("not a picture")
    (first / ".DS_Store").write_text("hidden")
    (first / "torn.jpg").write_bytes(people[0][0].read_bytes()[:9000])
    small = cv2.resize(photo, (200, 200), interpolation=cv2.INTER_AREA)
    save_image(first / "small.png", small)
    save_image(first / "two.png", np.hstack([photo, other]))
    bystander = np.full((640, 300, 3), 127, np.uint8)
    bystander[200:500] = cv2.resize(other, (300, 300), interpolation=cv2.INTER_AREA)
    save_image(root / "person-1" / "bystander.png", np.hstack([photo, bystander]))
    points = finder.find(photo)[0].landmarks
    save_image(first / "cut.png", np.ascontiguousarray(photo[:, : int(points[:, 0].mean())]))
    shrunk = cv2.resize(photo, (480, 480), interpolation=cv2.INTER_AREA)
    save_image(first / "rescaled.jpg", shrunk)
    return root


@pytest.fixture(scope="module")
def done(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed run makes of the source."""
    target = tmp_path_factory.mktemp("prepared") / "crops"
    prepare(source, target)
    return target


def results(target: Path) -> dict[str, str]:
    lines = (target / LOG).read_text().splitlines()[1:]
    return {line["source"]: line["result"] for line in map(json.loads, lines)}


def contents(target: Path) -> dict[str, bytes]:
    return {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*.*")}


def test_every_photo_is_kept_or_skipped_for_its_reason(done: Path):
    found = results(done)
    cut = found.pop("person-0/cut.png")
    assert cut in ("cut off", "no face")
    assert found == {
        "person-0/album/smile.jpg": "kept",
        "person-0/landscape.png": "no face",
        "person-0/notes.txt": "unreadable",
        "person-0/photo.jpg": "kept",
        "person-0/rescaled.jpg": "duplicate",
        "person-0/small.png": "too small",
        "person-0/torn.jpg": "unreadable",
        "person-0/two.png": "several faces",
        "person-1/album/smile.jpg": "kept",
        "person-1/bystander.png": "kept",
        "person-1/photo.jpg": "kept",
        "person-2/album/smile.jpg": "kept",
        "person-2/photo.jpg": "kept",
    }


def test_there_are_only_crops_with_their_points(done: Path):
    names = ("album_smile", "photo")
    expected = {f"person-{i}/{n}.{s}" for i in range(3) for n in names for s in ("webp", "npy")}
    expected |= {"person-1/bystander.webp", "person-1/bystander.npy", LOG, GUIDES}
    assert set(contents(done)) == expected


def test_the_middle_of_a_crop_is_the_ffhq_crop(
    done: Path, people: list[tuple[Path, Path]], finder: FaceFinder
):
    photo = load_image(people[2][0])
    landmarks = finder.find(photo)[0].landmarks
    crop = load_image(done / "person-2" / "photo.webp")
    points = np.load(done / "person-2" / "photo.npy")
    assert crop.shape == (288, 288, 3)
    assert points.shape == (468, 2)
    assert points.dtype == np.float16
    aligned = align(photo, landmarks)
    difference = np.abs(crop[16:272, 16:272].astype(int) - aligned.image)
    assert difference.mean() < 3
    inside = landmarks[:468] @ aligned.matrix[:, :2].T + aligned.matrix[:, 2] + 16
    assert np.abs(points - inside).max() < 0.2
    found = finder.find(crop)[0].landmarks[:468]
    assert np.abs(points - found).mean() < 1.5


def test_the_most_frontal_photo_is_the_guide(done: Path):
    guides = json.loads((done / GUIDES).read_text())
    assert set(guides) == {"person-0", "person-1", "person-2"}
    for person, guide in guides.items():
        scores = {f.stem: frontality(np.load(f)) for f in (done / person).glob("*.npy")}
        assert scores[guide] == pytest.approx(min(scores.values()), abs=0.002)


def test_frontality_sees_turned_heads_and_closed_eyes(done: Path):
    points = np.load(done / "person-0" / "photo.npy").astype(np.float64)
    score = frontality(points)
    assert score < 0.15
    turned, closed = points.copy(), points.copy()
    width = points[454, 0] - points[234, 0]
    turned[1, 0] += 0.2 * width
    closed[[145, 374]] = closed[[159, 386]]
    assert frontality(turned) > score + 0.1
    assert frontality(closed) > score + 0.5
    mirrored = points * [-1, 1]
    mirrored[[234, 454]] = mirrored[[454, 234]]
    assert frontality(mirrored) == pytest.approx(score, abs=1e-6)


def test_a_second_run_does_nothing_again(source: Path, done: Path):
    before = {p: p.stat().st_mtime_ns for p in done.rglob("*.webp")}
    prepare(source, done)
    assert before
    assert {p: p.stat().st_mtime_ns for p in done.rglob("*.webp")} == before


def test_a_killed_run_goes_on_to_the_same_result(source: Path, done: Path, tmp_path: Path):
    target = tmp_path / "crops"
    command = [sys.executable, "-m", "training.prepare", str(source), "-o", str(target)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    log = target / LOG
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    # The worst places to be killed at: a line half written, a picture without its points.
    with log.open("a") as file:
        file.write('{"source": "person-2/pho')
    (target / "person-2").mkdir(exist_ok=True)
    (target / "person-2" / f".{'0' * 32}.webp").write_bytes(b"half a picture")
    (target / "person-2" / "photo.webp").write_bytes(b"an old picture")
    prepare(source, target)
    assert contents(target) == contents(done)


def test_lost_crops_and_changed_photos_are_done_again(
    source: Path, people: list[tuple[Path, Path]], tmp_path: Path
):
    own, target = tmp_path / "photos", tmp_path / "crops"
    shutil.copytree(source / "person-2", own / "person-2")
    prepare(own, target)
    (target / "person-2" / "photo.npy").unlink()
    changed = own / "person-2" / "album" / "smile.jpg"
    changed.unlink()
    shutil.copy(people[4][1], changed)
    old = (target / "person-2" / "album_smile.webp").read_bytes()
    counts = prepare(own, target)
    assert counts == {"kept": 2}
    assert (target / "person-2" / "photo.npy").is_file()
    assert (target / "person-2" / "album_smile.webp").read_bytes() != old


def test_the_command_sums_up(source: Path, done: Path, capsys):
    assert main([str(source), "-o", str(done)]) == 0
    out = capsys.readouterr().out
    assert "7 of 14 photos kept" in out
    for reason in ("no face", "unreadable", "duplicate", "too small", "several faces"):
        assert f"skipped: {reason}" in out


def test_names_that_differ_in_their_suffix_only_stay_apart(tmp_path: Path):
    folder = tmp_path / "photos" / "someone"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "a.png", "b.jpg"):
        (folder / name).write_text("")
    names = [p.name for p in list_photos(tmp_path / "photos", tmp_path / "crops")]
    assert names == ["a_jpg", "a_png", "b"]


def test_bad_folders_end_with_one_sentence(source: Path, done: Path, tmp_path: Path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "loose.jpg").write_text("not in anybody's folder")
    target = tmp_path / "crops"
    (tmp_path / "file").write_text("")
    cases = [
        ([tmp_path / "nowhere", "-o", target], "There is no folder"),
        ([empty, "-o", target], "one folder per person"),
        ([source, "-o", source / "crops"], "must not lie in each other"),
        ([source, "-o", tmp_path / "file"], "is not a folder"),
        ([source, "-o", done, "--min-side", "100"], "other settings"),
    ]
    for arguments, sentence in cases:
        assert main([str(a) for a in arguments]) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert len(err.strip().splitlines()) == 1
    assert not target.exists()
