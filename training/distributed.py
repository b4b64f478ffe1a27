"""Training in several processes, one per GPU, started by ``torchrun``.

Every process holds the same network, takes its share of each batch, and averages its gradients with
the others' before the optimiser's step: the scheme of DistributedDataParallel, written out, since
the objective calls the network's parts rather than its ``forward``. With losses that are means over
the whole batch, n processes take the step that one would take, up to rounding; only batch norm (the
paper's networks) sees its own process's share, as it does in DistributedDataParallel.

In a single process every function here does nothing and costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that ``torchrun`` started; alone, go on alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    local = int(os.environ["LOCAL_RANK"])
    if local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    # The others wait for the first while it decodes the crops, which may take hours.
    dist.init_process_group(
        timeout=timedelta(hours=24)
    )  # NCCL for tensors on a GPU, gloo for those on the CPU
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number; the first, 0, writes the files and speaks."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The block runs in process 0, then in the others: what 0 caches, they find."""
    if rank() > 0:
        dist.all_reduce(torch.zeros(1))  # waits for all; barrier() would insist on a GPU
    try:
        yield
    finally:
        if rank() == 0 and world_size() > 1:
            dist.all_reduce(torch.zeros(1))


def own_share(batch: int) -> int:
    """How many of a batch's samples are this process's.

    Raises:
        ValueError: the batch cannot be shared equally.
    """
    if batch % world_size():
        raise ValueError(f"A batch of {batch} cannot be shared by {world_size()} processes.")
    return batch // world_size()


def own_rows(draw: Tensor) -> Tensor:
    """This process's rows of what was drawn, with one seed, for the whole batch."""
    return draw.chunk(world_size())[rank()]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])  # one message, not hundreds
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is 1, 0 where it is nowhere.

    The count is that of the whole batch, so that the processes' mean is the batch's mean also when
    their masks differ.
    """
    count = mask.sum()
    if world_size() > 1:
        dist.all_reduce(count)
    return (values * mask).sum() * world_size() / count.clamp(min=1)


def mean_over_processes(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """The processes' mean of every value; they must all have the same names in the same order."""
    if world_size() == 1:
        return values
    means = torch.tensor(list(values.values()), dtype=torch.float32, device=device)
    dist.all_reduce(means)
    means /= world_size()
    return dict(zip(values, means.tolist(), strict=True))


def agreed(value: float, device: torch.device) -> float:
    """The first process's value, in all: clocks differ, and all must stop at the same step."""
    if world_size() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, src=0)
    return shared.item()
