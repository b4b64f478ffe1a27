"""Lists of photos to restore: ``name,degraded,guide``, one pair a row."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gfr.errors import InputError
from gfr.images import check_image, save_image
from gfr.restorer import Restorer


@dataclass(frozen=True)
class Pair:
    """One row: the result is called ``name``.png; ``guide`` None means no guide."""

    name: str
    degraded: Path
    guide: Path | None


def read_pairs(path: Path) -> list[Pair]:
    """Read and check a whole list before any work is done.

    Args:
        path: a CSV file in UTF-8 with the columns name, degraded, guide; the paths in it count
            from its own folder; an empty guide means none.

    Raises:
        InputError: the list cannot be read, a name is missing, doubled or no plain file name, or
            an image is missing or not an image; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="more", strict=True)
            missing = {"name", "degraded", "guide"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(f"{path} lacks the column {' and '.join(sorted(missing))}.")
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a readable CSV file ({error}).") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not rows:
        raise InputError(f"{path} lists no pairs.")
    pairs: list[Pair] = []
    taken: set[str] = set()
    for line, row in rows:
        try:
            pair = _pair(row, path.parent)
            if pair.name.casefold() in taken:
                raise InputError(f"The name {pair.name} is there twice.")
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
        taken.add(pair.name.casefold())
        pairs.append(pair)
    return pairs


def restore_pairs(
    restorer: Restorer,
    pairs: Sequence[Pair],
    folder: Path,
    strength: float = 1.0,
    aligned: bool = False,
) -> list[dict[str, Any]]:
    """Restore every pair into ``folder``/<name>.png: either all results are written, or none.

    A progress bar goes to stderr, if that is a terminal.

    Returns:
        One dictionary per pair: name, output, guide_index, timings_ms.

    Raises:
        InputError: a pair cannot be restored; the message names all of those.
        OSError: the folder cannot be written.
    """
    reports, failures = [], []
    with _staging(folder) as stage:
        for pair in tqdm(pairs, desc="Restoring", unit="photo", disable=None):
            guides = [] if pair.guide is None else [pair.guide]
            try:
                result = restorer.restore(pair.degraded, guides, strength, aligned)
            except InputError as error:
                failures.append((pair.name, error))
                continue
            save_image(stage / f"{pair.name}.png", result.image)
            face = result.faces[0]
            reports.append(
                {
                    "name": pair.name,
                    "output": str(folder / f"{pair.name}.png"),
                    "guide_index": face.guide_index,
                    "timings_ms": face.timings_ms,
                }
            )
        if failures:
            names = ", ".join(name for name, _ in failures)
            raise InputError(
                f"Nothing was written, since {len(failures)} of {len(pairs)} pairs cannot be "
                f"restored ({names}); the first: {failures[0][1]}"
            )
    return reports


def _pair(row: dict[str, Any], root: Path) -> Pair:
    if "more" in row or None in row.values():
        raise InputError("There must be three fields: name, degraded, guide.")
    name, degraded, guide = (row[key].strip() for key in ("name", "degraded", "guide"))
    if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
        raise InputError(f"The name must be a plain file name, not {name!r}.")
    if not degraded:
        raise InputError("The degraded photo is missing.")
    for image in filter(None, (degraded, guide)):
        check_image(root / image)
    return Pair(name, root / degraded, root / guide if guide else None)


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A hidden folder inside ``folder``; its files move up when the block succeeds."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; with --pairs, -o names a folder.")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".gfr-", dir=folder))
    try:
        yield stage
        for file in sorted(stage.iterdir()):
            file.replace(folder / file.name)
        made = []
    finally:
        shutil.rmtree(stage)
        for path in made:
            path.rmdir()
