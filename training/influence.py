"""Guide influence: does the network use the guide, or only denoise?

    python -m training.influence --bench DIR [--weights FILE] [--json FILE] [--plot FILE.png]

A network that ignores its guide is the failure that everybody who reproduced the paper met. Per
degradation level this measures, with bootstrap intervals over the people, what the guide does; and
over a finer scale of strengths, how the gain grows as less and less of the face is left. A flat
curve is the failure, and the report says so in words.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from gfr.degradation import Degradation, degrade
from gfr.errors import InputError
from gfr.images import check_output, save_image, to_image, to_tensor
from gfr.model import GFRNet
from gfr.warpnet import identity_grid
from training.bench import LEVELS, SIZE, Bench, landmark_error
from training.bootstrap import Interval, bootstrap
from training.evaluate import restore
from training.identity import identity_distance
from training.influence_report import MEASURES, gain_curve, share_of_gain, table, verdict
from training.inputs import add_inputs, open_inputs, progress_bar, run_command, write_json
from training.judge import Judge, autocast
from training.perceptual import vgg_distance

# Strength 1, 2 and 3 are the bench's mild, moderate and severe; 4 leaves next to nothing.
CURVE = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_STEPS = (0, 1, 2, 3, 4)
_BLUR = (0.5, 1, 2, 3.5, 6)
_SCALE = (1, 2, 4, 8, 16)
_NOISE = (2, 4, 8, 12, 16)
_JPEG = (80, 60, 50, 40, 30)

Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Influence:
    """What was measured, per case."""

    cases: tuple[str, ...]
    levels: dict[str, Values]
    """level → one of ``MEASURES`` → one value per case."""
    curve: dict[float, np.ndarray]
    """degradation strength → identity gain of every case."""

    @property
    def people(self) -> list[str]:
        """Whose case it is: the name up to its last hyphen."""
        return [case.rpartition("-")[0] or case for case in self.cases]

    def interval(self, level: str, measure: str) -> Interval:
        """Mean and 95 % interval of a measure at a level."""
        return bootstrap(self.levels[level][measure], self.people)

    def curve_interval(self, strength: float) -> Interval:
        """Mean and 95 % interval of the gain at a strength."""
        return bootstrap(self.curve[strength], self.people)

    def rise(self) -> Interval:
        """How much larger the gain is at the level worst degraded than at the least."""
        first, *_, last = self.levels
        return bootstrap(self.levels[last]["gain"] - self.levels[first]["gain"], self.people)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "cases": list(self.cases),
            "levels": {
                lv: {m: asdict(self.interval(lv, m)) for m in MEASURES} for lv in self.levels
            },
            "curve": [{"strength": s} | asdict(self.curve_interval(s)) for s in self.curve],
            "rise": asdict(self.rise()),
            "per_case": {
                lv: {m: v.tolist() for m, v in ms.items()} for lv, ms in self.levels.items()
            },
        }


@torch.inference_mode()
def measure_influence(
    model: GFRNet,
    bench: Bench,
    judge: Judge,
    dtype: torch.dtype = torch.float32,
    levels: Sequence[str] = LEVELS,
    curve: Sequence[float] = CURVE,
    progress: Callable[[Iterable[Bench]], Iterable[Bench]] = iter,
) -> Influence:
    """Measure a network in eval mode, case by case.

    Args:
        model: the network.
        bench: the cases; a case's person is its name up to the last hyphen.
        judge: the measuring networks, on the model's device.
        dtype: the network runs under autocast to it.
        levels: which of the bench's levels, two or more, from mild to severe.
        curve: strengths of degradation for the gain curve; see :func:`degradation_of`.
        progress: wraps the sequence of cases, e.g. ``tqdm``.
    """
    measured: dict[str, list[dict[str, float]]] = {level: [] for level in levels}
    gains: dict[float, list[float]] = {strength: [] for strength in curve}
    for case in progress(bench.batches(1)):
        for level in levels:
            measured[level].append(_measure_case(model, case, level, judge, dtype))
        for strength in curve:
            gains[strength].append(_gain_at(model, case, strength, judge, dtype))
    return Influence(
        bench.names,
        {
            lv: {m: np.array([row[m] for row in rows]) for m in MEASURES}
            for lv, rows in measured.items()
        },
        {strength: np.array(values) for strength, values in gains.items()},
    )


def _measure_case(
    model: GFRNet, case: Bench, level: str, judge: Judge, dtype: torch.dtype
) -> dict[str, float]:
    device = next(model.parameters()).device
    images = {kind: image.to(device) for kind, image in case.images.items()}
    points = case.landmarks.to(device), case.guide_landmarks.to(device)
    outputs = {g: restore(model, case, level, g, dtype) for g in ("right", "wrong", "none")}
    grid = identity_grid(SIZE, SIZE, device)
    with autocast(device, dtype):
        unwarped = model.restore(images[level], images["guide"], grid).restored.float()
    restored = {guide: output.restored for guide, output in outputs.items()}
    restored["unwarped"] = unwarped
    who = {name: judge.recogniser(image) for name, image in restored.items()}
    truth, stranger = judge.recogniser(images["gt"]), judge.recogniser(images["wrong"])
    far = {name: identity_distance(e, truth) for name, e in who.items()}
    look = {name: judge.features(restored[name]) for name in ("right", "wrong", "unwarped")}
    true_look = judge.features(images["gt"])
    mask = face_mask(case.landmarks).to(device)
    values = {
        "gain": far["none"] - far["right"],
        "swap_inside": vgg_distance(look["right"], look["wrong"], mask),
        "swap_outside": vgg_distance(look["right"], look["wrong"], 1 - mask),
        "pull": identity_distance(who["none"], stranger)
        - identity_distance(who["wrong"], stranger),
        "warp_id": far["unwarped"] - far["right"],
        "warp_vgg": vgg_distance(look["unwarped"], true_look)
        - vgg_distance(look["right"], true_look),
        "landmark_before": landmark_error(None, *points),
        "landmark_after": landmark_error(outputs["right"].flow, *points),
    }
    return {name: float(value) for name, value in values.items()}


def _gain_at(
    model: GFRNet, case: Bench, strength: float, judge: Judge, dtype: torch.dtype
) -> float:
    device = next(model.parameters()).device
    seed = sum(case.names[0].encode())
    bad = degrade(to_image(case.images["gt"]), degradation_of(strength, seed))
    bad, guide = to_tensor(bad).to(device), case.images["guide"].to(device)
    truth = judge.recogniser(case.images["gt"].to(device))
    with autocast(device, dtype):
        restored = [model(bad, g).restored.float() for g in (None, guide)]
    none, right = (identity_distance(judge.recogniser(r), truth) for r in restored)
    return float(none - right)


def degradation_of(strength: float, seed: int = 0) -> Degradation:
    """A point on the line from nearly clean (0) over mild, moderate, severe (1, 2, 3) to null (4).

    Raises:
        ValueError: the strength is not in 0…4.
    """
    if not 0 <= strength <= 4:
        raise ValueError(f"The strength must lie in 0…4, not {strength}.")
    blur, scale, noise, jpeg = (
        float(np.interp(strength, _STEPS, steps)) for steps in (_BLUR, _SCALE, _NOISE, _JPEG)
    )
    return Degradation(blur=blur, scale=scale, noise=noise, jpeg=round(jpeg), seed=seed)


def face_mask(landmarks: Tensor) -> Tensor:
    """The convex hull of each face's mesh, filled: N×468×2 pixels → N×1×256×256, 0 or 1."""
    masks = np.zeros((len(landmarks), SIZE, SIZE), np.uint8)
    for mask, points in zip(masks, landmarks.cpu().numpy(), strict=True):
        cv2.fillConvexPoly(mask, cv2.convexHull(points.round().astype(np.int32)), 1)
    return torch.from_numpy(masks)[:, None].float()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.influence", description="Measure what the guide does."
    )
    add_inputs(parser)
    parser.add_argument("--plot", type=Path, help="draw the gain curve to this image file")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="JSON",
        help="another run's report, e.g. of one without identity loss: print its share of the gain",
    )
    return run_command(_run, parser.parse_args(argv))


def _run(options: argparse.Namespace) -> None:
    if options.plot:
        check_output(options.plot)
    other = _read_gains(options.compare) if options.compare else None
    i = open_inputs(options)
    influence = measure_influence(i.model, i.bench, i.judge, i.dtype, progress=progress_bar)
    print(f"{i.weights}, {len(i.bench)} cases\n\n{table(influence)}\n\n{verdict(influence)}")
    if other is not None:
        print(share_of_gain(influence, other))
    if options.json:
        data = {"weights": i.weights.name, "verdict": verdict(influence), **influence.to_dict()}
        write_json(options.json, data)
    if options.plot:
        title = f"What the guide is worth ({i.weights.stem}, {len(i.bench)} cases, 95 % intervals)"
        save_image(options.plot, gain_curve(influence, title))


def _read_gains(path: Path) -> dict[str, float]:
    """level → mean identity gain, from a report that this command wrote as JSON."""
    try:
        levels = json.loads(path.read_text(encoding="utf-8"))["levels"]
        return {level: float(levels[level]["gain"]["mean"]) for level in LEVELS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a JSON report of this command.") from error


if __name__ == "__main__":
    sys.exit(main())
