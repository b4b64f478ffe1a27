"""Which sample comes next."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

from training.distributed import own_share, rank


class Upward(Sampler[int]):
    """Endless indices: step k sees samples k·batch to (k + 1)·batch − 1, whoever computes them.

    So a resumed run sees what one never stopped would see, and n processes together see what a
    single one would: each takes its consecutive share of every batch.

    Args:
        step: the step to begin with.
        batch: samples per step, of all processes together; they must divide it.
    """

    def __init__(self, step: int, batch: int) -> None:
        self.step, self.batch = step, batch
        self.share = own_share(batch)

    def __iter__(self) -> Iterator[int]:
        start = self.step * self.batch + rank() * self.share
        while True:
            yield from range(start, start + self.share)
            start += self.batch
