"""Where the shipped files are, and writing files so that a half-written one is never seen."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WEIGHTS_DIR = Path(__file__).resolve().parent.parent / "weights"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` when the block succeeds.

    The temporary name keeps the suffix, so that writers which choose a format by it work. When the
    block raises, the temporary file is removed and whatever was at ``path`` stays as it was.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Remove what :func:`replacing` was writing in ``folder`` when its process was killed."""
    for path in folder.glob(f".{'[0-9a-f]' * 32}.*"):
        path.unlink()
