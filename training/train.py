"""Train one stage: ``python -m training.train --config FILE --data DIR [DIR…] --out DIR``.

``--out`` receives ``checkpoint.pt`` (to resume), ``weights.safetensors`` (the exported moving
average), ``log.csv`` and ``samples.png``. A stage ends, its learning rate annealed, after the
configuration's ``steps`` or after ``--minutes``, whichever comes first. On several GPUs:
``torchrun --nproc-per-node N -m training.train …``; they share each batch.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from gfr.device import pick_device
from gfr.files import clear_unfinished
from gfr.model import CONFIGS, GFRNet
from gfr.warpnet import WarpNet
from gfr.weights import load_model
from training.config import TrainConfig, load_config
from training.data import FaceStore, PairDataset
from training.distributed import agreed, first_goes_first, own_share, process_group, rank
from training.log import Log
from training.objective import Objective, prepare_batch
from training.sampler import Upward
from training.samples import save_samples
from training.trainer import Trainer


def run(trainer: Trainer, store: FaceStore, out: Path, workers: int) -> None:
    """Train until the steps or the minutes are used up; the first process writes the files."""
    config, first = trainer.config, rank() == 0
    loader = DataLoader(
        PairDataset(store, config.data, seed=config.seed),
        batch_size=own_share(config.batch),
        sampler=Upward(trainer.step, config.batch),
        num_workers=workers,
        pin_memory=trainer.device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    log = Log(out / "log.csv", trainer.step) if first else None
    last, saved = time.monotonic(), time.monotonic()
    bar = tqdm(
        total=config.steps, initial=trainer.step, unit="step", mininterval=5, disable=not first
    )
    for batch in loader:
        progress = max(trainer.step / config.steps, trainer.elapsed / (60 * trainer.minutes))
        progress = agreed(progress, trainer.device)
        if progress >= 1:
            break
        values = trainer.train_step(batch, progress)
        now = time.monotonic()
        trainer.elapsed, last = trainer.elapsed + now - last, now
        bar.update()
        if log is None:
            continue
        row = log.add(values, trainer.step, trainer.elapsed / 60)
        if row:
            bar.set_postfix({k: v for k, v in row.items() if k not in ("step", "lr", "minutes")})
        if now - saved > 60 * config.checkpoint_minutes:
            saved = now
            trainer.save(out)
            save_samples(out / "samples.png", trainer.ema, prepare_batch(batch, trainer.device))
    bar.close()
    if log is not None:
        log.write(trainer.step, trainer.elapsed / 60)
        trainer.save(out)


def build_model(
    config: TrainConfig, store: FaceStore, warpnet: Path | None, recnet: Path | None
) -> GFRNet:
    """A fresh network, or one whose parts come from earlier stages' weights."""
    torch.manual_seed(config.seed)
    model = GFRNet(CONFIGS[config.model])
    if warpnet:
        model.warpnet.load_state_dict(load_model(warpnet).warpnet.state_dict())
    elif isinstance(model.warpnet, WarpNet):
        model.warpnet.meshnet.set_mean(torch.from_numpy(store.mean_points()))
    if recnet:
        source = load_model(recnet)
        model.recnet.load_state_dict(source.recnet.state_dict())
        if model.guide_encoder is not None:
            model.guide_encoder.load_state_dict(source.guide_encoder.state_dict())
    return model


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--minutes", type=float, help="length of the run; kept when resumed")
    parser.add_argument("--init-warpnet", type=Path, help="weights to take the WarpNet from")
    parser.add_argument("--init-recnet", type=Path, help="weights to take the RecNet from")
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--workers", type=int, default=1, help="loader processes")
    return parser.parse_args(argv)


def prepare(args: argparse.Namespace) -> tuple[Trainer, FaceStore]:
    """Everything that can fail for bad input, before anything is written.

    Raises:
        ValueError, OSError: one sentence.
    """
    config = load_config(args.config)
    own_share(config.batch)
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists() and not args.resume:
        raise ValueError(f"{args.out} holds a run already; add --resume or choose another.")
    if args.resume and not checkpoint.exists():
        raise ValueError(f"There is no {checkpoint} to resume from.")
    with first_goes_first():
        store = FaceStore.open(args.data, args.cache)
    model = build_model(config, store, args.init_warpnet, args.init_recnet)
    objective = Objective(config, args.models)
    dtype = None if args.dtype == "auto" else getattr(torch, args.dtype)
    trainer = Trainer(config, model, objective, pick_device(args.device), dtype)
    if args.resume:
        trainer.resume(args.out)
    trainer.minutes = args.minutes or trainer.minutes
    return trainer, store


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 on bad input."""
    args = parse_arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    with process_group():
        try:
            trainer, store = prepare(args)
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        args.out.mkdir(parents=True, exist_ok=True)
        if rank() == 0:
            clear_unfinished(args.out)
        run(trainer, store, args.out, args.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
