"""What the page computes, without a browser."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from gfr.degradation import Degradation
from gfr.errors import InputError
from gfr.page import studio
from gfr.page.actions import Actions
from gfr.page.controls import JPEG_OFF, from_degradation, to_degradation, view_defaults
from gfr.page.examples import Examples
from gfr.page.subjects import Session, Subject, subject
from gfr.presets import CLEAN, PRESETS, RAMP_ENDS, RANDOM, preset, ramp
from gfr.restorer import Restorer

HARD = PRESETS["Tiny thumbnail"]


@pytest.fixture(scope="module")
def truth(restorer: Restorer, photo: Path) -> Subject:
    return subject(None, restorer, photo, "photo")


@pytest.fixture(scope="module")
def helper(restorer: Restorer, guide: Path) -> Subject:
    return subject(None, restorer, guide, "guide")


def test_a_session_reads_each_photo_once(restorer: Restorer, photo: Path):
    session = Session()
    first = subject(session, restorer, photo, "photo")
    assert subject(session, restorer, photo, "photo") is first
    assert subject(None, restorer, photo, "photo") is not first
    # The nose's tip lies near the crop's middle.
    assert np.abs(first.landmarks[1] - 128).max() < 40


def test_the_truth_is_compared_with(restorer: Restorer, truth: Subject, helper: Subject):
    clean = studio.degrade_and_restore(restorer, truth, helper, CLEAN)
    assert clean.before.psnr == np.inf
    assert clean.before.ssim == pytest.approx(1)
    hard = studio.degrade_and_restore(restorer, truth, helper, HARD)
    assert 10 < hard.before.psnr < 35
    assert (hard.steps.restored != hard.steps.degraded).any()
    scores = studio.scores_value(hard, 100.0)
    assert float(scores["psnr_input"]) == pytest.approx(hard.before.psnr, abs=0.06)


def test_strength_zero_is_no_guide(restorer: Restorer, truth: Subject, helper: Subject):
    weak = studio.degrade_and_restore(restorer, truth, helper, HARD, strength=0.0)
    alone = studio.degrade_and_restore(restorer, truth, None, HARD)
    difference = np.abs(weak.steps.restored.astype(int) - alone.steps.restored)
    assert difference.max() <= 1


def test_panels_without_a_guide_are_empty_where_it_would_be(restorer: Restorer, truth: Subject):
    alone = studio.degrade_and_restore(restorer, truth, None, HARD)
    value = studio.panels_value(alone.steps, studio.View())
    assert value["guide"] is None
    assert value["warped"] is None
    assert value["restored"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("flow", studio.FLOW_VIEWS)
@pytest.mark.parametrize("landmarks", [False, True])
def test_every_view_is_another_picture(
    restorer: Restorer, truth: Subject, helper: Subject, flow: str, landmarks: bool
):
    steps = studio.degrade_and_restore(restorer, truth, helper, HARD).steps
    plain = studio.panels_value(steps, studio.View(studio.PLAIN))
    value = studio.panels_value(steps, studio.View(flow, landmarks=landmarks))
    assert (value["warped"] == plain["warped"]) == (flow == studio.PLAIN and not landmarks)
    assert (value["guide"] == plain["guide"]) == (not landmarks)


def test_the_curve_runs_from_mild_to_severe(restorer: Restorer, truth: Subject, helper: Subject):
    told: list[float] = []
    points = studio.robustness(
        restorer, truth, helper, "blur", steps=3, progress=lambda share, _: told.append(share)
    )
    assert [p.degradation.blur for p in points] == [0, 3, 6]
    assert points[0].input > points[1].input > points[2].input
    assert told == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.mark.parametrize("axis", ["all", *RAMP_ENDS])
def test_ramps_end_where_they_should(axis: str):
    steps = ramp(5, axis)
    axes = RAMP_ENDS if axis == "all" else [axis]
    for name in axes:
        assert [getattr(d, name) for d in (steps[0], steps[-1])] == list(RAMP_ENDS[name])


def test_presets_fit_the_sliders():
    rng = np.random.default_rng(0)
    for name in (*PRESETS, *[RANDOM] * 20):
        blur, scale, noise, jpeg, seed = from_degradation(preset(name, rng))
        assert 0 <= blur <= 8
        assert 1 <= scale <= 16
        assert 0 <= noise <= 40
        assert 5 <= jpeg <= JPEG_OFF
        assert 0 <= seed <= 999
        again = from_degradation(to_degradation(blur, scale, noise, jpeg, seed))
        assert again == (blur, scale, noise, jpeg, seed)
    with pytest.raises(ValueError, match="no preset"):
        preset("Fog", rng)
    assert to_degradation(0, 1, 0, JPEG_OFF, 0) == Degradation()
    with pytest.raises(InputError, match="blur"):
        to_degradation(-1, 1, 0, 50, 0)


def test_errors_name_the_photo_and_not_the_file(
    restorer: Restorer, guide: Path, landscape: Path, tmp_path: Path
):
    actions = Actions(restorer, Examples(restorer))
    letter = tmp_path / "letter.png"
    letter.write_text("Dear Sir or Madam")
    degradation = (*from_degradation(HARD), 1.0, *view_defaults(), None)
    for photo, sentence in (
        (None, "Add a sharp photo first."),
        (str(letter), "The photo is not an image"),
        (str(landscape), "No face was found in the photo"),
    ):
        with pytest.raises(gr.Error) as error:
            actions.degrade(photo, str(guide), *degradation)
        assert error.value.message.startswith(sentence)
        assert str(tmp_path) not in error.value.message
        assert error.value.message.count(". ") == 0
