"""Bootstrap intervals of a mean over cases that come in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def bootstrap(values: np.ndarray, groups: Sequence[str], seed: int = 0) -> Interval:
    """The mean of ``values`` with its 95 % percentile interval.

    Whole groups are drawn with replacement, as cases of one person are not independent
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    Args:
        values: one per case.
        groups: which group each case belongs to.
        seed: equal seeds give equal intervals.
    """
    values = np.asarray(values, np.float64)
    _, member = np.unique(list(groups), return_inverse=True)
    if len(values) == 0 or len(member) != len(values):
        raise ValueError(f"{len(values)} values do not fit {len(member)} groups.")
    sums, counts = np.bincount(member, values), np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
