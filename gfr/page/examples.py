"""The examples: six people who do not exist, each with a photo to spoil and a guide."""

from __future__ import annotations

import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from gfr.degradation import Degradation, degrade
from gfr.images import load_image, save_image
from gfr.presets import PRESETS
from gfr.restorer import Restorer, Result

_THUMBNAIL = 160  # pixels
FOLDER = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True, eq=False)
class Example:
    """One person's files."""

    photo: Path
    """The sharp photo: the truth."""
    guide: Path
    """The sharp photo that guides."""
    spoiled: Path
    """``photo`` made bad, as a visitor's photo would be."""
    thumbnail: np.ndarray
    """Left half bad, right half sharp; uint8 RGB."""
    preset: str
    """The name of the degradation."""


class Examples:
    """The example people, restored ahead of time on one background thread.

    Args:
        restorer: restores them.
        folder: holds one folder per person with ``photo.jpg`` and ``guide.jpg``.

    Raises:
        FileNotFoundError: the folder holds no example.
    """

    def __init__(self, restorer: Restorer, folder: Path = FOLDER) -> None:
        self._restorer = restorer
        self._files = tempfile.TemporaryDirectory(prefix="gfr-examples-")
        people = sorted(p.parent for p in folder.glob("*/photo.jpg"))
        if not people:
            raise FileNotFoundError(f"There are no examples in {folder}.")
        names = list(PRESETS)
        self.items = [
            self._prepare(person, names[i % len(names)]) for i, person in enumerate(people)
        ]
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="examples")
        self._results: list[Future[Result]] = [
            worker.submit(self._restore, example) for example in self.items
        ]
        worker.shutdown(wait=False)

    def result(self, index: int) -> Result:
        """The restored example; waits while it is still being made."""
        return self._results[index].result()

    def stranger(self, index: int) -> Path:
        """Another person's guide."""
        return self.items[(index + 1) % len(self.items)].guide

    def _restore(self, example: Example) -> Result:
        return self._restorer.restore(load_image(example.spoiled), load_image(example.guide))

    def _prepare(self, person: Path, preset: str) -> Example:
        photo = load_image(person / "photo.jpg")
        spoiled = degrade(photo, _for_whole_photo(PRESETS[preset], photo))
        middle = photo.shape[1] // 2
        half = np.hstack([spoiled[:, :middle], photo[:, middle:]])
        half[:, middle - 3 : middle + 3] = 255
        folder = Path(self._files.name) / person.name
        folder.mkdir()
        save_image(folder / "blurry.png", spoiled)
        return Example(
            person / "photo.jpg",
            person / "guide.jpg",
            folder / "blurry.png",
            cv2.resize(half, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA),
            preset,
        )


def _for_whole_photo(degradation: Degradation, photo: np.ndarray) -> Degradation:
    """Strengths are meant at 256×256; in a whole photo the face's crop is larger than that."""
    factor = 0.6 * photo.shape[1] / 256
    return replace(
        degradation, blur=degradation.blur * factor, scale=max(1.0, degradation.scale * factor)
    )
