"""Measure a network on a bench: fidelity, perception, identity, warp, and the targets.

    python -m training.evaluate --bench DIR [--weights FILE] [--json FILE] [--grid FILE.png]

Every level (mild, moderate, severe) is restored with the right guide, with a stranger as guide and
with none; the degraded input is measured beside them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfr.images import check_output, save_image, to_image
from gfr.model import GFRNet, GFRNetOutput
from training.bench import LEVELS, Bench, landmark_error, pixels_per_axis
from training.grid import picture_grid
from training.inputs import add_inputs, open_inputs, progress_bar, run_command, write_json
from training.judge import METRICS, Judge, autocast
from training.targets import TARGETS, Check, check

GUIDES = ("right", "wrong", "none")


Scores = dict[str, dict[str, dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Report:
    """What was measured, per case."""

    cases: tuple[str, ...]
    scores: Scores
    """level → "input", "right", "wrong" or "none" → metric → one value per case."""
    landmarks: dict[str | None, np.ndarray]
    """level → landmark error (|dx| + |dy| in [-1, 1]) of the right guide's warp, one per case;
    None → that of the unwarped guide."""

    @property
    def levels(self) -> tuple[str, ...]:
        return tuple(self.scores)

    def mean(self, level: str, image: str, metric: str) -> float:
        """The mean over the cases; image: "input", "right", "wrong" or "none"."""
        return float(self.scores[level][image][metric].mean())

    def landmark(self, level: str | None) -> float:
        """Mean landmark error of the warp at a level; None: of the unwarped guide."""
        return float(self.landmarks[level].mean())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the means, and the values of every case."""
        unwarped = self.landmark(None)
        landmarks = {
            level: {"unwarped": unwarped, "warped": self.landmark(level)}
            | {"unwarped_px": pixels_per_axis(unwarped)}
            | {"warped_px": pixels_per_axis(self.landmark(level))}
            for level in self.levels
        }
        means = {
            level: {who: {m: self.mean(level, who, m) for m in METRICS} for who in images}
            for level, images in self.scores.items()
        }
        cases = {
            level: {who: {m: v.tolist() for m, v in ms.items()} for who, ms in images.items()}
            for level, images in self.scores.items()
        }
        return {
            "cases": list(self.cases),
            "mean": means,
            "landmark_error": landmarks,
            "per_case": cases,
        }


def guide_of(bench: Bench, guide: str) -> Tensor | None:
    """The guide images for one of ``GUIDES``."""
    return {"right": bench.images["guide"], "wrong": bench.images["wrong"], "none": None}[guide]


@torch.inference_mode()
def restore(
    model: GFRNet, bench: Bench, level: str, guide: str, dtype: torch.dtype = torch.float32
) -> GFRNetOutput:
    """Restore all cases of a (small) bench under autocast to ``dtype``.

    Returns:
        float32 tensors on the model's device.
    """
    device = next(model.parameters()).device
    guides = guide_of(bench, guide)
    with autocast(device, dtype):
        degraded = bench.images[level].to(device)
        output = model(degraded, None if guides is None else guides.to(device))
    return GFRNetOutput(*(t.float() for t in output))


@torch.inference_mode()
def evaluate_model(
    model: GFRNet,
    bench: Bench,
    judge: Judge,
    dtype: torch.dtype = torch.float32,
    levels: Sequence[str] = LEVELS,
    batch: int | None = None,
    progress: Callable[[Iterable[Bench]], Iterable[Bench]] = iter,
) -> Report:
    """Measure a network in eval mode; what does not depend on the guide is computed once.

    Args:
        model: the network, in eval mode.
        bench: the cases; ``bench.select(slice(8))`` for a quick look.
        judge: the measuring networks, on the model's device.
        dtype: the network runs under autocast to it.
        levels: which of the bench's levels.
        batch: cases at a time; by default 12 on CUDA, and 1 on a CPU, where it is fastest.
        progress: wraps the sequence of batches, e.g. ``tqdm``.

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("evaluate_model needs the model in eval mode.")
    device = next(model.parameters()).device
    batch = batch or (12 if device.type == "cuda" else 1)
    parts: list[tuple[Scores, dict[str | None, np.ndarray]]] = []
    for cases in progress(bench.batches(batch)):
        truth = judge.truth(cases.images["gt"].to(device))
        points = cases.landmarks.to(device), cases.guide_landmarks.to(device)
        errors: dict[str | None, Tensor] = {None: landmark_error(None, *points)}
        scores: Scores = {}
        for level in levels:
            scores[level] = {"input": judge.scores(cases.images[level].to(device), truth)}
            for guide in GUIDES:
                output = restore(model, cases, level, guide, dtype)
                scores[level][guide] = judge.scores(output.restored, truth)
                if guide == "right":
                    errors[level] = landmark_error(output.flow, *points)
        parts.append((scores, {k: v.double().cpu().numpy() for k, v in errors.items()}))
    return Report(
        bench.names,
        {
            level: {
                who: {m: np.concatenate([s[level][who][m] for s, _ in parts]) for m in METRICS}
                for who in ("input", *GUIDES)
            }
            for level in levels
        },
        {key: np.concatenate([e[key] for _, e in parts]) for key in (None, *levels)},
    )


def table(report: Report) -> str:
    """The report as aligned text."""
    lines = [f"{'level':<10}{'image':<8}{'PSNR':>8}{'SSIM':>8}{'VGG':>8}{'ID':>8}"]
    for level in report.levels:
        for who in ("input", *GUIDES):
            p, s, v, i = (report.mean(level, who, m) for m in METRICS)
            name = level if who == "input" else ""
            lines.append(f"{name:<10}{who:<8}{p:8.2f}{s:8.4f}{v:8.3f}{i:8.3f}")
    lines += ["", f"{'landmark error':<18}{'|dx|+|dy|':>10}{'px/axis':>10}{'ratio':>8}"]
    unwarped = report.landmark(None)
    for level in (None, *report.levels):
        error = report.landmark(level)
        name = level or "unwarped"
        lines.append(
            f"{name:<18}{error:10.4f}{pixels_per_axis(error):10.2f}{error / unwarped:8.2f}"
        )
    return "\n".join(lines)


def targets_table(name: str, checks: Sequence[Check]) -> str:
    """The targets as aligned text, missed ones marked."""
    held = sum(c.holds for c in checks)
    lines = [f"targets ({name}): {held} of {len(checks)} hold"]
    for c in checks:
        mark, sign = ("ok", "MISSED")[not c.holds], "≤≥"[c.at_least]
        lines.append(f"{mark:<8}{c.level:<10}{c.meaning:<42}{c.value:8.3f}  {sign} {c.limit:.2f}")
    return "\n".join(lines)


GRID_TITLES = ("input", "guide", "warped guide", "right guide", "wrong guide", "no guide", "truth")


def result_grid(
    model: GFRNet, bench: Bench, level: str, dtype: torch.dtype = torch.float32
) -> np.ndarray:
    """One row per case: input, guide, warped guide, the three results, truth; H×W×3 uint8."""
    outputs = [restore(model, bench, level, guide, dtype) for guide in GUIDES]
    columns = [bench.images[level], bench.images["guide"], outputs[0].warped]
    columns += [*(o.restored for o in outputs), bench.images["gt"]]
    rows = [[to_image(column[i]) for column in columns] for i in range(len(bench))]
    return picture_grid(rows, GRID_TITLES, bench.names)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Measure weights on a bench."
    )
    add_inputs(parser)
    add = parser.add_argument
    add("--targets", choices=TARGETS, default="first-light", help="which targets to check")
    add("--grid", type=Path, help="also draw results to this image file")
    add("--grid-level", choices=LEVELS, default="severe")
    add("--grid-cases", type=int, default=8, help="rows of the grid, spread over the bench")
    return run_command(_run, parser.parse_args(argv))


def _run(options: argparse.Namespace) -> None:
    if options.grid:
        check_output(options.grid)
    i = open_inputs(options)
    report = evaluate_model(i.model, i.bench, i.judge, i.dtype, progress=progress_bar)
    checks = check(TARGETS[options.targets], report)
    print(f"{i.weights}, {len(i.bench)} cases\n\n{table(report)}\n")
    print(targets_table(options.targets, checks))
    if options.json:
        data = {"weights": i.weights.name, **report.to_dict(), "targets": options.targets}
        data["checks"] = [asdict(c) | {"holds": c.holds} for c in checks]
        write_json(options.json, data)
    if options.grid:
        cases = i.bench.spread(options.grid_cases)
        save_image(options.grid, result_grid(i.model, cases, options.grid_level, i.dtype))


if __name__ == "__main__":
    sys.exit(main())
