"""The page's endpoints: what a visitor's session remembers, and one sentence for every error.

Callers of the API have no session unless they open the page: for them nothing is remembered.

Each method is one named endpoint of the page's API; the first line of its docstring and its
arguments are that endpoint's documentation.
"""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder

from gfr.errors import InputError
from gfr.images import load_image, save_image
from gfr.page import studio
from gfr.page.controls import from_degradation, to_degradation, to_view, view_defaults
from gfr.page.curve import curve_value
from gfr.page.examples import Examples
from gfr.page.studio import View
from gfr.page.subjects import Session, Steps, Subject, read_upload, subject
from gfr.presets import PRESETS, preset
from gfr.restorer import Restorer, Result

_SHOWN_SIDE = 1400  # longer sides are reduced for the before/after slider, not for the download

F = TypeVar("F", bound=Callable[..., Any])


def in_a_sentence(action: F) -> F:
    """Turn what a visitor can put right into a message on the page, without a stack trace."""

    @functools.wraps(action)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return action(*args, **kwargs)
        except InputError as error:
            message = str(error)
        raise gr.Error(message, title="That did not work", print_exception=False)

    return wrapper  # type: ignore[return-value]


class Actions:
    """Everything the page can do."""

    def __init__(self, restorer: Restorer, examples: Examples) -> None:
        self.restorer = restorer
        self.examples = examples

    # --- Restore my photo ---------------------------------------------------------------------

    @in_a_sentence
    def restore(
        self,
        photo: str | None,
        guides: list[tuple[str, str | None]] | None,
        strength: float,
        flow: str,
        spacing: float,
        colour: str,
        landmarks: bool,
        session: Session | None,
    ) -> tuple[Any, ...]:
        """Restore the face in a photo with the help of sharp photos of the same person.

        Args:
            photo: the photo to restore.
            guides: sharp photos of the same person; the one closest in pose is used.
            strength: how much the guide counts, 0 to 1.
            flow: what is drawn over the warped guide: "Arrows", "Deformed grid" or "Nothing".
            spacing: distance of arrows or grid lines in pixels, 8 to 40.
            colour: "direction" or a colour.
            landmarks: mark the face's landmarks.

        Returns:
            The photo before and after, the restored photo and face as files, the four panels.
        """
        image = read_upload(_needed(photo, "Add the photo to restore first."), "The photo")
        pictures = [read_upload(path, "The guide") for path, _ in guides or []]
        result = self.restorer.restore(image, pictures or None, strength)
        if session is not None:
            session.restored = Steps.of(result.faces[0])
        face = result.faces[0]
        notes = {"restored": f"in {face.timings_ms['network']:.0f} ms"}
        if len(pictures) > 1:
            notes["guide"] = f"picture {face.guide_index + 1}, closest in pose"
        return self._shown(result, image, to_view(flow, spacing, colour, landmarks), notes)

    @in_a_sentence
    def redraw(
        self, flow: str, spacing: float, colour: str, landmarks: bool, session: Session | None
    ) -> dict[str, Any]:
        """Draw the last restored face's flow in another style; the arguments as for /restore."""
        if session is None or session.restored is None:
            raise InputError("Restore a photo first.")
        return studio.panels_value(session.restored, to_view(flow, spacing, colour, landmarks))

    def new_session(self) -> Session:
        """What a visitor begins with: the first example, restored."""
        return Session(restored=Steps.of(self.examples.result(0).faces[0]))

    def example_restored(self, index: int, session: Session | None = None) -> tuple[Any, ...]:
        """What /restore shows for an example."""
        result = self.examples.result(index)
        if session is not None:
            session.restored = Steps.of(result.faces[0])
        return self._shown(result, load_image(self.examples.items[index].spoiled), View())

    def _shown(
        self,
        result: Result,
        before: np.ndarray,
        view: View,
        notes: dict[str, str] | None = None,
    ) -> tuple[Any, ...]:
        face = result.faces[0]
        pair = (_reduced(before), _reduced(np.asarray(result.image)))
        files = _file(np.asarray(result.image), "restored"), _file(face.restored, "restored-face")
        return pair, *files, studio.panels_value(Steps.of(face), view, notes)

    # --- Test the limits ----------------------------------------------------------------------

    @in_a_sentence
    def degrade(
        self,
        photo: str | None,
        guide: str | None,
        blur: float,
        scale: float,
        noise: float,
        jpeg: float,
        seed: float,
        strength: float,
        flow: str,
        spacing: float,
        colour: str,
        landmarks: bool,
        session: Session | None,
    ) -> tuple[Any, ...]:
        """Degrade a sharp photo and restore it, the truth being known.

        Args:
            photo: a sharp photo: the truth.
            guide: another sharp photo of the same person; may be left out.
            blur: standard deviation of the blur in pixels at 256×256, 0 to 8.
            scale: downsampling factor, 1 to 16.
            noise: standard deviation of the noise in levels of 255, 0 to 40.
            jpeg: JPEG quality, 5 to 99; 100 is no JPEG.
            seed: of the noise.
            strength: how much the guide counts, 0 to 1.
            flow, spacing, colour, landmarks: as for /restore.

        Returns:
            The four panels, the figures, and the face before and after.
        """
        start = time.perf_counter()
        truth, guided = self._pair(photo, guide, session)
        degradation = to_degradation(blur, scale, noise, jpeg, seed)
        outcome = studio.degrade_and_restore(self.restorer, truth, guided, degradation, strength)
        panels = studio.panels_value(
            outcome.steps,
            to_view(flow, spacing, colour, landmarks),
            {
                "degraded": f"PSNR {outcome.before.psnr:.1f} dB",
                "restored": f"PSNR {outcome.after.psnr:.1f} dB",
            },
        )
        pair = (outcome.steps.degraded, outcome.steps.restored)
        return panels, studio.scores_value(outcome, (time.perf_counter() - start) * 1000), pair

    @in_a_sentence
    def preset(
        self,
        name: str,
        photo: str | None,
        guide: str | None,
        strength: float,
        flow: str,
        spacing: float,
        colour: str,
        landmarks: bool,
        session: Session | None,
    ) -> tuple[Any, ...]:
        """Set the sliders to a named degradation and restore.

        Args:
            name: the preset.
            photo, guide, strength, flow, spacing, colour, landmarks: as for /degrade.

        Returns:
            The five sliders' values, then what /degrade returns.
        """
        values = from_degradation(preset(name, np.random.default_rng()))
        drawing = strength, flow, spacing, colour, landmarks
        return *values, *self.degrade(photo, guide, *values, *drawing, session)

    @in_a_sentence
    def guide_test(
        self,
        photo: str | None,
        guide: str | None,
        blur: float,
        scale: float,
        noise: float,
        jpeg: float,
        seed: float,
        session: Session | None,
    ) -> dict[str, Any]:
        """Does the guide matter? Restore with this guide, without one and with a stranger's.

        Args:
            photo: a sharp photo: the truth.
            guide: another sharp photo of the same person.
            blur, scale, noise, jpeg, seed: as for /degrade.
        """
        truth, guided = self._pair(photo, _needed(guide, "Add a guide first."), session)
        stranger = subject(session, self.restorer, self._stranger(guided, session), "stranger")
        degradation = to_degradation(blur, scale, noise, jpeg, seed)
        return studio.guide_test(self.restorer, truth, guided, stranger, degradation)

    @in_a_sentence
    def curve(
        self,
        photo: str | None,
        guide: str | None,
        axis: str,
        session: Session | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio's way to inject it
    ) -> dict[str, Any]:
        """The robustness curve: quality from mild to severe, with the guide and without.

        Args:
            photo: a sharp photo: the truth.
            guide: another sharp photo of the same person.
            axis: "all", "blur", "scale", "noise" or "jpeg".
        """
        truth, guided = self._pair(photo, _needed(guide, "Add a guide first."), session)
        points = studio.robustness(
            self.restorer,
            truth,
            guided,
            axis,
            progress=lambda share, word: progress(share, desc=word),
        )
        return curve_value(points, axis)

    def example_degraded(self, index: int, session: Session | None) -> tuple[Any, ...]:
        """What /degrade shows for an example, the sliders' values first."""
        example = self.examples.items[index]
        values = from_degradation(PRESETS[example.preset])
        paths = str(example.photo), str(example.guide)
        return *values, *self.degrade(*paths, *values, 1.0, *view_defaults(), session)

    @in_a_sentence
    def load_example(self, index: int, session: Session | None) -> tuple[Any, ...]:
        """Load an example person into both halves of the page.

        Args:
            index: which, from 0.
        """
        example = self.examples.items[index]
        return (
            str(example.spoiled),
            [(str(example.guide), None)],
            *self.example_restored(index, session),
            str(example.photo),
            str(example.guide),
            *self.example_degraded(index, session),
            None,
            None,
        )

    def _pair(
        self, photo: str | None, guide: str | None, session: Session | None
    ) -> tuple[Subject, Subject | None]:
        path = _needed(photo, "Add a sharp photo first.")
        truth = subject(session, self.restorer, path, "photo")
        if guide is None:
            return truth, None
        return truth, subject(session, self.restorer, guide, "guide")

    def _stranger(self, guide: Subject, session: Session | None) -> str:
        """The example guide least like this one: never the same person."""
        paths = [str(e.guide) for e in self.examples.items]
        crops = [subject(session, self.restorer, p, "stranger").crop for p in paths]
        return paths[int(np.argmax([np.abs(c.astype(int) - guide.crop).mean() for c in crops]))]


def _needed(path: str | None, sentence: str) -> str:
    if path is None:
        raise InputError(sentence)
    return path


def _file(image: np.ndarray, name: str) -> str:
    """Write a PNG into Gradio's cache, from which it is deleted on schedule."""
    folder = Path(get_upload_folder()) / uuid.uuid4().hex
    folder.mkdir(parents=True)
    path = folder / f"{name}.png"
    save_image(path, image)
    return str(path)


def _reduced(image: np.ndarray) -> np.ndarray:
    scale = _SHOWN_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
