"""What the weights have to reach on the bench, and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.evaluate import Report


def _limits(meaning: str, at_least: bool) -> Mapping[str, float]:
    return field(default_factory=dict, metadata={"meaning": meaning, "at_least": at_least})


@dataclass(frozen=True)
class Targets:
    """Limits per level; a level that a field does not name is not asked for."""

    psnr_gain: Mapping[str, float] = _limits("PSNR with the right guide − input's, dB", True)
    vgg_ratio: Mapping[str, float] = _limits("VGG distance, right guide / input", False)
    identity_ratio: Mapping[str, float] = _limits("ID distance, right guide / input", False)
    wrong_margin: Mapping[str, float] = _limits("ID distance, wrong guide − right", True)
    guide_gain: Mapping[str, float] = _limits("ID distance, no guide − right", True)
    wrong_harm: Mapping[str, float] = _limits("ID distance, wrong guide − none", False)
    landmark_ratio: Mapping[str, float] = _limits("landmark error, warped / unwarped", False)


@dataclass(frozen=True)
class Check:
    """One target, one level: the measured value against its limit."""

    level: str
    meaning: str
    value: float
    limit: float
    at_least: bool

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


TARGETS: dict[str, Targets] = {
    "first-light": Targets(
        psnr_gain={"moderate": 1.0, "severe": 1.0},
        vgg_ratio={"moderate": 0.78, "severe": 0.78},
        identity_ratio={"moderate": 1.0, "severe": 1.0},
        wrong_margin={"severe": 0.04},
        landmark_ratio={"moderate": 0.5},
    ),
    "release": Targets(
        psnr_gain={"mild": 0.0, "moderate": 1.3, "severe": 1.3},
        vgg_ratio={"moderate": 0.60, "severe": 0.65},
        identity_ratio={"mild": 1.0, "moderate": 0.80, "severe": 0.75},
        guide_gain={"severe": 0.08},
        wrong_harm={"mild": 0.05, "moderate": 0.05, "severe": 0.05},
        landmark_ratio={"moderate": 0.5},
    ),
}


def check(targets: Targets, report: Report) -> list[Check]:
    """Compare a report with the targets, for the levels that the report has."""

    def identity(level: str, guide: str) -> float:
        return report.mean(level, guide, "identity")

    def ratio(level: str, metric: str) -> float:
        return report.mean(level, "right", metric) / report.mean(level, "input", metric)

    measure: dict[str, Callable[[str], float]] = {
        "psnr_gain": lambda lv: report.mean(lv, "right", "psnr") - report.mean(lv, "input", "psnr"),
        "vgg_ratio": lambda lv: ratio(lv, "vgg"),
        "identity_ratio": lambda lv: ratio(lv, "identity"),
        "wrong_margin": lambda lv: identity(lv, "wrong") - identity(lv, "right"),
        "guide_gain": lambda lv: identity(lv, "none") - identity(lv, "right"),
        "wrong_harm": lambda lv: identity(lv, "wrong") - identity(lv, "none"),
        "landmark_ratio": lambda lv: report.landmark(lv) / report.landmark(None),
    }
    return [
        Check(level, f.metadata["meaning"], measure[f.name](level), limit, f.metadata["at_least"])
        for f in fields(targets)
        for level, limit in getattr(targets, f.name).items()
        if level in report.levels
    ]
