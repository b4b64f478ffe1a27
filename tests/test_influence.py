"""The guide influence report: it must tell a network that uses its guide from one that does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gfr.degradation import degrade
from gfr.device import pick_dtype
from gfr.faces import FaceFinder
from gfr.images import load_image, to_image, to_tensor
from gfr.metrics import psnr
from gfr.model import CONFIGS, GFRNet, GFRNetOutput
from gfr.warpnet import identity_grid, warp
from training.bench import LEVELS, SIZE, Bench
from training.bootstrap import bootstrap
from training.influence import (
    CURVE,
    Influence,
    degradation_of,
    face_mask,
    main,
    measure_influence,
)
from training.influence_report import MEASURES, gain_curve, share_of_gain, table, verdict
from training.judge import Judge


@pytest.fixture(scope="module")
def judge(models: Path) -> Judge:
    cpu = torch.device("cpu")
    return Judge.load(models, cpu, pick_dtype(cpu))


@pytest.fixture(scope="module")
def bench(crops: list[tuple[Path, Path]], finder: FaceFinder) -> Bench:
    """Two people whose guides show them exactly as they are: using the guide can only help."""
    truth = torch.cat([to_tensor(load_image(photo)) for photo, _ in crops[:2]])
    wrong = torch.cat([to_tensor(load_image(guide)) for _, guide in crops[2:4]])
    points = np.stack([finder.find(to_image(face))[0].landmarks[:468] for face in truth])
    images = {"gt": truth, "guide": truth, "wrong": wrong}
    for strength, level in enumerate(LEVELS, 1):
        bad = [degrade(to_image(face), degradation_of(strength)) for face in truth]
        images[level] = torch.cat([to_tensor(image) for image in bad])
    points = torch.from_numpy(points)
    return Bench(("a-0", "b-0"), images, points, points)


class Mixer(nn.Module):
    """A network that paints the guide over the photo, half and half, without warping it."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, degraded: Tensor, guide: Tensor | None) -> GFRNetOutput:
        grid = identity_grid(SIZE, SIZE).expand(len(degraded), -1, -1, -1)
        return self.restore(degraded, degraded if guide is None else guide, grid)

    def restore(self, degraded: Tensor, guide: Tensor, flow: Tensor) -> GFRNetOutput:
        warped = warp(guide, flow)
        return GFRNetOutput(torch.lerp(degraded, warped, self.share), warped, flow)


@pytest.fixture(scope="module")
def mixed(bench: Bench, judge: Judge) -> Influence:
    return measure_influence(Mixer().eval(), bench, judge, curve=(1.0, 3.0))


def test_a_network_that_uses_its_guide_is_seen_to(mixed: Influence):
    for level in LEVELS:
        assert mixed.interval(level, "gain").above_zero
        assert mixed.interval(level, "swap_inside").above_zero
        assert mixed.levels[level]["landmark_after"].max() < 1e-4
        # It does not warp, so the unwarped guide does as well.
        assert np.abs(mixed.levels[level]["warp_id"]).max() < 1e-3
    gains = [mixed.interval(level, "gain").mean for level in LEVELS]
    assert gains == sorted(gains)
    assert mixed.curve_interval(3.0).mean > mixed.curve_interval(1.0).mean
    assert verdict(mixed).startswith("The guide matters")


def test_a_network_that_ignores_its_guide_is_called_a_failure(bench: Bench, judge: Judge):
    torch.manual_seed(0)
    untrained = GFRNet(CONFIGS["compact"]).eval()  # it returns its input
    levels = ("mild", "severe")
    influence = measure_influence(untrained, bench.select([0]), judge, levels=levels, curve=(2.0,))
    for level in levels:
        assert influence.levels[level]["gain"] == pytest.approx(0, abs=1e-5)
        assert influence.levels[level]["swap_inside"] == pytest.approx(0, abs=1e-5)
    assert verdict(influence).startswith("FAILURE: the network ignores the guide")


def made_up(gains: dict[str, float]) -> Influence:
    """Ten people, two cases each, whose gains scatter a little around the given ones."""
    scatter = np.random.default_rng(0).normal(0, 0.01, 20)
    levels = {
        level: {m: scatter + (gain if m == "gain" else 0.1) for m in MEASURES}
        for level, gain in gains.items()
    }
    cases = tuple(f"p{i // 2}-{i % 2}" for i in range(20))
    curve = dict(zip((1.0, 2.0, 3.0), (v["gain"] for v in levels.values()), strict=True))
    return Influence(cases, levels, curve)


def test_the_verdict_names_a_flat_curve():
    flat = made_up({"mild": 0.05, "moderate": 0.05, "severe": 0.05})
    assert verdict(flat).startswith("FAILURE: the curve is flat")
    rising = made_up({"mild": 0.01, "moderate": 0.04, "severe": 0.1})
    assert verdict(rising).startswith("The guide matters")
    assert verdict(rising).endswith("grows at every level.")
    dented = made_up({"mild": 0.04, "moderate": 0.01, "severe": 0.1})
    assert verdict(dented).endswith("not at every level.")


def test_the_report_can_be_read_and_drawn():
    influence = made_up({"mild": 0.01, "moderate": 0.04, "severe": 0.1})
    text = table(influence)
    assert all(meaning in text for meaning in MEASURES.values())
    assert len({len(line) for line in text.splitlines()}) == 1
    data = json.loads(json.dumps(influence.to_dict()))
    assert data["levels"]["severe"]["gain"]["low"] > 0
    assert [point["strength"] for point in data["curve"]] == [1.0, 2.0, 3.0]
    other = {level: values["gain"]["mean"] / 2 for level, values in data["levels"].items()}
    assert "severe" in share_of_gain(influence, other)
    assert share_of_gain(influence, other).count("(50%)") == 3
    picture = gain_curve(influence, "title")
    assert picture.shape == (500, 800, 3)
    assert (picture < 128).any()


def test_the_command_writes_its_files(
    bench_dir: Path, models: Path, weights: Path, tmp_path: Path, capsys
):
    target, plot = tmp_path / "influence.json", tmp_path / "curve.png"
    common = ["--bench", bench_dir, "--models", models, "--weights", weights, "--device", "cpu"]
    arguments = [*common, "--cases", 1, "--json", target, "--plot", plot]
    assert main([str(a) for a in arguments]) == 0
    out = capsys.readouterr().out
    data = json.loads(target.read_text())
    assert data["verdict"] in out
    assert len(data["curve"]) == len(CURVE)
    assert load_image(plot).shape == (500, 800, 3)
    (tmp_path / "other.json").write_text("{}")
    assert main([str(a) for a in [*common, "--compare", tmp_path / "other.json"]]) == 2
    assert "is not a JSON report of this command" in capsys.readouterr().err


def test_the_bootstrap_interval_has_its_coverage():
    rng = np.random.default_rng(1)
    groups = [str(i // 2) for i in range(60)]
    hits = 0
    for seed in range(100):
        person = rng.normal(0, 1, 30).repeat(2)  # the two cases of a person go together
        interval = bootstrap(person + rng.normal(0, 0.1, 60), groups, seed)
        hits += interval.low <= 0 <= interval.high
        assert interval.low < interval.mean < interval.high
    assert 86 <= hits <= 99


def test_the_bootstrap_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        bootstrap(np.zeros(3), ["a"])
    with pytest.raises(ValueError, match="do not fit"):
        bootstrap(np.zeros(0), [])


def test_the_strengths_run_through_the_bench_levels(faces: Tensor):
    moderate = degradation_of(2)
    assert (moderate.blur, moderate.scale, moderate.noise, moderate.jpeg) == (2, 4, 8, 50)
    image = to_image(faces[0])
    quality = [
        psnr(to_tensor(degrade(image, degradation_of(s))), to_tensor(image)).item() for s in CURVE
    ]
    assert quality == sorted(quality, reverse=True)
    with pytest.raises(ValueError, match="0…4"):
        degradation_of(5)


def test_the_mask_covers_the_face(bench: Bench):
    mask = face_mask(bench.landmarks)
    assert mask.shape == (2, 1, 256, 256)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert 0.1 < mask.mean() < 0.6
    nose = bench.landmarks[:, 1].round().long()
    assert all(mask[i, 0, y, x] == 1 for i, (x, y) in enumerate(nose.tolist()))
    assert mask[:, :, :5, :5].max() == 0
