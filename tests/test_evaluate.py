"""Evaluation from end to end on a small bench made of the example people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gfr.device import pick_dtype
from gfr.images import load_image, to_image
from gfr.model import CONFIGS, GFRNet
from gfr.warpnet import identity_grid
from gfr.weights import save_weights
from training.bench import LEVELS, Bench, BenchError, landmark_error, pixels_per_axis
from training.evaluate import GUIDES, METRICS, Report, evaluate_model, main
from training.grid import picture_grid
from training.judge import Judge
from training.targets import TARGETS, check


@pytest.fixture(scope="module")
def untrained() -> GFRNet:
    torch.manual_seed(0)
    return GFRNet(CONFIGS["compact"]).eval()


@pytest.fixture(scope="module")
def untrained_file(untrained: GFRNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("untrained") / "untrained.safetensors"
    save_weights(path, untrained)
    return path


@pytest.fixture(scope="module")
def judge(models: Path) -> Judge:
    cpu = torch.device("cpu")
    return Judge.load(models, cpu, pick_dtype(cpu))


@pytest.fixture(scope="module")
def report(bench_dir: Path, judge: Judge, untrained: GFRNet) -> Report:
    return evaluate_model(untrained, Bench.load(bench_dir), judge, batch=2)


def test_the_command_prints_the_table_and_writes_json_and_grid(
    bench_dir: Path, models: Path, untrained_file: Path, tmp_path: Path, capsys
):
    target, grid = tmp_path / "figures.json", tmp_path / "grid.png"
    arguments = ["--bench", bench_dir, "--models", models, "--weights", untrained_file]
    arguments += ["--json", target, "--grid", grid, "--cases", 1, "--device", "cpu"]
    assert main([str(a) for a in arguments]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    for who in ("input", *GUIDES):
        assert sum(who in row[:2] for row in rows) >= len(LEVELS)
    assert "targets (first-light)" in out
    figures = json.loads(target.read_text())
    assert figures["cases"] == ["c0"]
    for level in LEVELS:
        assert set(figures["mean"][level]) == {"input", *GUIDES}
        assert set(figures["mean"][level]["right"]) == set(METRICS)
        assert len(figures["per_case"][level]["wrong"]["vgg"]) == 1
        assert figures["landmark_error"][level]["unwarped"] > 0
    assert len(figures["checks"]) == 8
    assert load_image(grid).shape == (256 + 24, 7 * 260 - 4, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures.json", "grid.png"]


def test_an_untrained_network_leaves_the_input_and_the_guide_as_they_are(report: Report):
    for level in LEVELS:
        for guide in GUIDES:
            for metric in METRICS:
                given = report.mean(level, "input", metric)
                assert report.mean(level, guide, metric) == pytest.approx(given, rel=1e-3, abs=1e-4)
        assert report.landmark(level) == pytest.approx(report.landmark(None), rel=1e-3)


def test_the_levels_grow_worse(report: Report):
    for metric, sign in (("psnr", -1), ("ssim", -1), ("vgg", 1), ("identity", 1)):
        values = [sign * report.mean(level, "input", metric) for level in LEVELS]
        assert values == sorted(values), metric


def test_figures_do_not_depend_on_the_batch(
    report: Report, bench_dir: Path, judge: Judge, untrained: GFRNet
):
    bench = Bench.load(bench_dir)
    single = evaluate_model(untrained, bench, judge, levels=["severe"], batch=1)
    assert single.levels == ("severe",)
    for metric in METRICS:
        assert single.scores["severe"]["right"][metric] == pytest.approx(
            report.scores["severe"]["right"][metric], rel=1e-3
        )


def test_a_model_in_training_mode_is_refused(bench_dir: Path, judge: Judge):
    with pytest.raises(ValueError, match="eval mode"):
        evaluate_model(GFRNet(CONFIGS["compact"]), Bench.load(bench_dir), judge)


def test_landmark_error_of_a_known_shift(bench_dir: Path):
    bench = Bench.load(bench_dir)
    shift = torch.tensor([5.0, -3.0])
    guide_points = bench.landmarks + shift
    flow = identity_grid(256, 256) + (shift * 2 / 255).view(1, 2, 1, 1)
    flow = flow.expand(len(bench), -1, -1, -1)
    unwarped = landmark_error(None, bench.landmarks, guide_points)
    assert unwarped.tolist() == pytest.approx([8 * 2 / 255] * 2, rel=1e-3)
    assert pixels_per_axis(unwarped[0].item()) == pytest.approx(4, rel=1e-3)
    assert landmark_error(flow, bench.landmarks, guide_points).max() < 1e-4


def improved(report: Report, psnr: float, vgg: float, identity: dict[str, float]) -> Report:
    """The report of an imaginary network: its figures from the input's, at ID distance 0.6."""
    levels = {}
    for level, images in report.scores.items():
        given = images["input"] | {"identity": np.full(2, 0.6)}
        better = given | {"psnr": given["psnr"] + psnr, "vgg": given["vgg"] * vgg}
        levels[level] = {"input": given}
        levels[level] |= {g: better | {"identity": np.full(2, 0.6 * identity[g])} for g in GUIDES}
    landmarks = {level: e * (0.4 if level else 1.0) for level, e in report.landmarks.items()}
    return replace(report, scores=levels, landmarks=landmarks)


def test_targets_hold_and_fail_as_they_should(report: Report):
    good = improved(report, 1.5, 0.5, {"right": 0.5, "wrong": 0.95, "none": 0.95})
    for name, count in (("first-light", 8), ("release", 13)):
        checks = check(TARGETS[name], good)
        assert len(checks) == count
        assert [c for c in checks if not c.holds] == []
    weak = improved(report, 0.9, 0.79, {"right": 1.01, "wrong": 1.01, "none": 1.01})
    held = [c for c in check(TARGETS["first-light"], weak) if c.holds]
    assert [c.meaning for c in held] == ["landmark error, warped / unwarped"]


def test_the_bench_can_be_cut(bench_dir: Path):
    bench = Bench.load(bench_dir)
    assert bench.names == ("c0", "c1")
    assert [b.names for b in bench.batches(1)] == [("c0",), ("c1",)]
    assert bench.spread(1).names == ("c0",)
    assert bench.spread(9).names == bench.names
    assert bench.select([1]).images["severe"].shape == (1, 3, 256, 256)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--bench": "nowhere"}, "is not a bench"),
        ({"--models": "nowhere"}, "There are no VGG16 weights at"),
        ({"--weights": "nowhere.safetensors"}, "There is no weights file"),
        ({"--recogniser": "nowhere.pt"}, "There is no recogniser"),
        ({"--json": "nowhere/figures.json"}, "does not exist"),
        ({"--grid": "grid.txt"}, "must end in an image suffix"),
    ],
)
def test_bad_input_ends_with_one_sentence(
    change: dict[str, str], sentence: str, bench_dir: Path, models: Path,
    untrained_file: Path, tmp_path: Path, capsys, monkeypatch
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    options = {"--bench": bench_dir, "--models": models, "--weights": untrained_file} | change
    assert main([str(part) for pair in options.items() for part in pair]) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_bench_is_named(bench_dir: Path, tmp_path: Path):
    (tmp_path / "a_gt.webp").write_bytes((bench_dir / "c0_gt.webp").read_bytes())
    with pytest.raises(BenchError, match=r"lacks .*a_guide\.webp"):
        Bench.load(tmp_path)


def test_a_grid_holds_its_pictures(faces: Tensor):
    pictures = [to_image(face) for face in faces]
    grid = picture_grid([pictures, pictures[::-1]], ["a", "b", "c"], ["first", "second"])
    assert grid.shape == (24 + 256 + 4 + 256, 3 * 256 + 8, 3)
    assert (grid[24:280, 260:516] == pictures[1]).all()
    with pytest.raises(ValueError, match="one per title"):
        picture_grid([pictures], ["a", "b"])
