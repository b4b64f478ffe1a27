"""The photos that ``training.prepare`` is given: one folder per person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gfr.errors import InputError


@dataclass(frozen=True)
class Photo:
    """A photo and where its crop goes."""

    source: Path
    person: str
    name: str
    """Of the crop, without suffix."""


def list_photos(source: Path, target: Path) -> list[Photo]:
    """Every file in every person's folder, in order; hidden files and folders are left out.

    Deeper folders belong to the person; a photo's name is its path in the person's folder with
    ``_`` for ``/``. Where two names differ in their suffix only, the suffix becomes part of them.

    Raises:
        InputError: there are none, or ``source`` and ``target`` lie in each other.
    """
    if not source.is_dir():
        raise InputError(f"There is no folder {source}.")
    inside, outside = target.resolve(), source.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise InputError(f"{target} and {source} must not lie in each other.")
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is not a folder.")
    photos = []
    for person in sorted(p for p in source.iterdir() if p.is_dir() and p.name[0] != "."):
        files = [f for f in _walk(person) if f.is_file()]
        stems = Counter(_stem(f, person) for f in files)
        for file in files:
            name = _stem(file, person)
            if stems[name] > 1:
                name += file.suffix.replace(".", "_")
            photos.append(Photo(file, person.name, name))
    if not photos:
        raise InputError(f"{source} holds no folders with photos; it needs one folder per person.")
    return photos


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name[0] != ".":
            yield from _walk(path) if path.is_dir() else (path,)


def _stem(file: Path, person: Path) -> str:
    return "_".join(file.relative_to(person).with_suffix("").parts)
