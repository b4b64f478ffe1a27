"""Folders of photos → aligned crops with mesh points, ready for training.

    python -m training.prepare SRC -o DST

``SRC/<person>/…`` holds photos of one person each. ``DST/<person>/<name>.webp`` becomes a 288×288
crop whose central 256×256 is the FFHQ crop, ``<name>.npy`` its 468×2 face-mesh points (float16,
(x, y) in pixels of the crop), and ``DST/guides.json`` names everybody's most frontal photo.
``DST/prepare.jsonl`` records what became of every photo: a run that was killed goes on from there,
and a photo that changed is done again. The crop of a photo that has left SRC stays.

A photo is skipped when it

- cannot be read as an image,
- shows no face, or several of which the second is more than half as large as the largest (whose
  photo is it?): a smaller bystander is ignored,
- shows the face too small: its FFHQ crop would be enlarged,
- cuts the face off: too much of the FFHQ crop lies outside the photo (the rest is mirrored),
- is a duplicate of an earlier photo of the person: the crop looks the same, at whatever
  size or compression.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from gfr.alignment import align, ffhq_transform
from gfr.errors import InputError
from gfr.faces import FaceFinder
from gfr.files import replacing
from gfr.images import ImageError, load_image, save_image
from training.frontal import frontality
from training.sources import Photo, list_photos

CROP = 288
MARGIN = 16
MESH = 468
LOG = "prepare.jsonl"
GUIDES = "guides.json"
KEPT = "kept"


@dataclass(frozen=True)
class Rules:
    """When a photo is skipped."""

    min_side: float = 192.0
    """Least side of the FFHQ crop, in pixels of the photo."""
    max_outside: float = 0.4
    """Largest share of the FFHQ crop that may lie outside the photo."""
    max_second_face: float = 0.5
    """Largest area of a second face, as a share of the largest face's."""
    duplicate_bits: int = 10
    """Crops of one person whose hashes differ in at most so many of 256 bits are duplicates.
    Photos taken a moment apart in a studio differ in 15 and more, resized copies mostly in less."""


@dataclass(frozen=True)
class Outcome:
    """What became of a photo; one line of the log."""

    source: str
    """Path below SRC."""
    size: int
    mtime_ns: int
    person: str
    name: str
    result: str
    """"kept", or why it was skipped."""
    frontality: float | None = None
    hash: str | None = None


@dataclass
class Log:
    """The outcomes so far, in a file that only ever grows by whole lines."""

    path: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, rules: Rules) -> Log:
        """Read the log, or begin one; a last line that a killed run left unfinished is dropped.

        Raises:
            InputError: it was written with other rules, or is not such a log.
        """
        log = cls(path)
        header = json.dumps(asdict(rules))
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        lines = [line for line in lines if line.endswith("\n")]
        if lines and lines[0].strip() != header:
            raise InputError(f"{path} was written with other settings; choose another folder.")
        try:
            outcomes = [Outcome(**json.loads(line)) for line in lines[1:]]
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}); choose another folder.") from error
        log.outcomes = {outcome.source: outcome for outcome in outcomes}
        with replacing(path) as temporary:
            temporary.write_text("".join(lines) or header + "\n", encoding="utf-8")
        return log

    def add(self, outcome: Outcome) -> None:
        """Append an outcome, at once and for good."""
        self.outcomes[outcome.source] = outcome
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")


def prepare(source: Path, target: Path, rules: Rules | None = None) -> Counter[str]:
    """Prepare all photos below ``source``; photos done before and not changed since stay.

    Returns:
        How many photos were kept and skipped, by reason, over all runs.

    Raises:
        InputError: ``source`` holds no photos in folders, or ``target`` cannot take the crops.
    """
    rules = rules or Rules()
    photos = list_photos(source, target)
    target.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    log = Log.open(target / LOG, rules)
    finder = FaceFinder()
    hashes: dict[str, dict[str, np.ndarray]] = {}
    for photo in tqdm(photos, desc="prepare", unit="photo", disable=None):
        key = photo.source.relative_to(source).as_posix()
        stat = photo.source.stat()
        outcome = log.outcomes.get(key)
        if outcome is None or not _still_valid(outcome, photo, stat, target):
            _files(target, photo.person, photo.name, unlink=True)
            seen = hashes.get(photo.person, {})
            result, score, bits = _prepare_one(photo, target, finder, rules, seen)
            outcome = Outcome(
                source=key,
                size=stat.st_size,
                mtime_ns=stat.st_mtime_ns,
                person=photo.person,
                name=photo.name,
                result=result,
                frontality=score,
                hash=None if bits is None else np.packbits(bits).tobytes().hex(),
            )
            log.add(outcome)
        if outcome.hash is not None:
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(outcome.hash), np.uint8))
            hashes.setdefault(photo.person, {})[photo.name] = bits
    keys = {photo.source.relative_to(source).as_posix() for photo in photos}
    outcomes = [outcome for key, outcome in log.outcomes.items() if key in keys]
    with replacing(target / GUIDES) as temporary:
        text = json.dumps(choose_guides(outcomes), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return Counter(outcome.result for outcome in outcomes)


def choose_guides(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """person → name of the most frontal photo kept, for every person with one."""
    kept = [outcome for outcome in outcomes if outcome.result == KEPT]
    kept.sort(key=lambda outcome: (outcome.person, outcome.frontality, outcome.name))
    guides: dict[str, str] = {}
    for outcome in kept:
        guides.setdefault(outcome.person, outcome.name)
    return guides


def _prepare_one(
    photo: Photo,
    target: Path,
    finder: FaceFinder,
    rules: Rules,
    seen: dict[str, np.ndarray],
) -> tuple[str, float | None, np.ndarray | None]:
    """Write a photo's crop and points, or do not; the result, frontality and hash of the crop."""
    try:
        image = load_image(photo.source)
    except ImageError:
        return "unreadable", None, None
    faces = finder.find(image)
    if not faces:
        return "no face", None, None
    areas = [face.box[2] * face.box[3] for face in faces]
    if len(areas) > 1 and areas[1] > rules.max_second_face * areas[0]:
        return "several faces", None, None
    points = faces[0].landmarks[:MESH]
    if 256 / np.hypot(*ffhq_transform(points, 256)[0, :2]) < rules.min_side:
        return "too small", None, None
    if outside_share(points, image.shape) > rules.max_outside:
        return "cut off", None, None
    crop = align(image, points, CROP, MARGIN)
    bits = picture_hash(crop.image)
    if any(np.count_nonzero(bits != other) <= rules.duplicate_bits for other in seen.values()):
        return "duplicate", None, None
    points = points @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    picture, mesh = _files(target, photo.person, photo.name)
    picture.parent.mkdir(exist_ok=True)
    save_image(picture, crop.image)
    with replacing(mesh) as temporary:
        np.save(temporary, points.astype(np.float16))
    return KEPT, round(frontality(points), 4), bits


def outside_share(points: np.ndarray, shape: tuple[int, ...]) -> float:
    """Share of the FFHQ crop that lies outside a photo of a shape (H, W, …), sampled at 32×32."""
    matrix = np.vstack([ffhq_transform(points, 32), [0, 0, 1]])
    y, x = np.mgrid[:32, :32].reshape(2, -1) + 0.5
    px, py, _ = np.linalg.inv(matrix) @ np.stack([x, y, np.ones_like(x)])
    return float(np.mean((px < 0) | (py < 0) | (px > shape[1]) | (py > shape[0])))


def picture_hash(image: np.ndarray) -> np.ndarray:
    """Difference hash of H×W×3 uint8 RGB: 256 bits, one where a cell is brighter than its left."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA)
    return (cells[:, 1:] > cells[:, :-1]).ravel().astype(np.uint8)


def _files(target: Path, person: str, name: str, unlink: bool = False) -> tuple[Path, Path]:
    """A crop's picture and points; ``unlink`` removes what an earlier or killed run left there."""
    files = target / person / f"{name}.webp", target / person / f"{name}.npy"
    if unlink:
        for file in files:
            file.unlink(missing_ok=True)
    return files


def _still_valid(outcome: Outcome, photo: Photo, stat: os.stat_result, target: Path) -> bool:
    same = (outcome.size, outcome.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    files = _files(target, outcome.person, outcome.name)
    there = outcome.result != KEPT or all(f.is_file() for f in files)
    return same and outcome.name == photo.name and there


def _remove_leftovers(target: Path) -> None:
    """Delete the temporary files of a killed run (see ``gfr.files.replacing``)."""
    for path in (*target.glob(".*"), *target.glob("*/.*")):
        if path.is_file() and len(path.stem) == 33 and path.suffix in (".webp", ".npy", ".json"):
            path.unlink()


def summary(counts: Counter[str], target: Path) -> str:
    """What was kept and what was skipped and why, in a few lines."""
    lines = [f"{counts[KEPT]} of {sum(counts.values())} photos kept in {target}"]
    skipped = [(reason, n) for reason, n in counts.most_common() if reason != KEPT]
    lines += [f"{n:6d} skipped: {reason}" for reason, n in skipped]
    return "\n".join([*lines, f"What became of each: {target / LOG}; guides: {target / GUIDES}"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 with one sentence on stderr when the input is bad."""
    defaults = Rules()
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare",
        description="Cut aligned faces and their mesh points out of photos, a folder per person.",
    )
    parser.add_argument("source", metavar="SRC", type=Path, help="holds one folder per person")
    parser.add_argument("-o", "--output", metavar="DST", type=Path, required=True)
    parser.add_argument(
        "--min-side",
        type=float,
        default=defaults.min_side,
        help="skip faces whose FFHQ crop is smaller, in pixels (default: %(default)g)",
    )
    args = parser.parse_args(argv)
    try:
        counts = prepare(args.source, args.output, Rules(min_side=args.min_side))
    except InputError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"prepare: {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(summary(counts, args.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
