"""The learning rate over a run."""

from __future__ import annotations

import math

from training.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine from ``lr`` to ``lr_final`` over progress 0 to 1."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warm * (config.lr_final + (config.lr - config.lr_final) * fall)
