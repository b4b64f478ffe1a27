"""Train one stage: ``python -m training.train --config FILE --data DIR [DIR…] --out DIR``.

``--out`` receives ``checkpoint.pt`` (to resume), ``weights.safetensors`` (the exported moving
average), ``log.csv`` and ``samples-*.png``. A stage ends, its learning rate annealed, after the
configuration's ``steps`` or after ``--minutes``, whichever comes first.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from gfr.device import pick_device, pick_dtype
from gfr.files import replacing
from gfr.model import CONFIGS, GFRNet
from gfr.warpnet import WarpNet
from gfr.weights import load_model, save_weights
from training.config import TrainConfig, load_config
from training.data import FaceStore, PairDataset
from training.grid import picture_grid
from training.objective import Objective, prepare_batch


class Upward(Sampler[int]):
    """start, start + 1, …: sample ``i`` is the same in a resumed run as in one never stopped."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        i = self.start
        while True:
            yield i
            i += 1


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Linear warm-up, then half a cosine from ``lr`` to ``lr_final`` over progress 0 to 1."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warm * (config.lr_final + (config.lr - config.lr_final) * fall)


class Trainer:
    """The state of a run: network, moving average, optimiser, position."""

    def __init__(
        self, config: TrainConfig, model: GFRNet, objective: Objective, device: torch.device
    ) -> None:
        self.config, self.device, self.dtype = config, device, pick_dtype(device)
        self.model = model.to(device, memory_format=torch.channels_last)
        self.objective = objective.to(device)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.parameters = self._choose_parameters()
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.step, self.elapsed = 0, 0.0

    def _choose_parameters(self) -> list[torch.nn.Parameter]:
        """Freeze what the stage does not train; give back the rest."""
        m = self.model
        parts = {"warpnet": [m.warpnet], "recnet": [m.recnet, m.guide_encoder]}
        m.requires_grad_(False).eval()
        chosen = []
        for name in self.config.train:
            for part in filter(None, parts[name]):
                part.requires_grad_(True).train()
                chosen += list(part.parameters())
        m.training = True  # the output is clamped in eval mode only
        return chosen

    def train_step(self, batch: dict[str, torch.Tensor], progress: float) -> dict[str, float]:
        """One optimiser step on a collated batch; returns the log's values."""
        rate = learning_rate(self.config, self.step, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = prepare_batch(batch, self.device)
        generator = torch.Generator().manual_seed(self.config.seed + self.step)
        autocast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        with autocast:
            total, terms = self.objective(self.model, batch, generator)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        if self.scaler.is_enabled() or norm.isfinite():
            self.scaler.step(self.optimizer)
        else:
            raise FloatingPointError(f"The gradient is not finite at step {self.step}.")
        self.scaler.update()
        self._update_ema()
        self.step += 1
        return {"total": float(total), **terms, "grad_norm": float(norm), "lr": rate}

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for a, b in zip(self.ema.parameters(), self.model.parameters(), strict=True):
            if b.requires_grad:
                a.lerp_(b, 1 - decay)
        for a, b in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            a.copy_(b)

    def save(self, out: Path) -> None:
        """Write the checkpoint and export the moving average; a kill leaves the previous pair."""
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
        }
        with replacing(out / "checkpoint.pt") as temporary:
            torch.save(state, temporary)
        save_weights(out / "weights.safetensors", self.ema)

    def resume(self, out: Path) -> None:
        """Continue from ``out/checkpoint.pt``."""
        state = torch.load(out / "checkpoint.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.elapsed = state["step"], state["elapsed"]


class Log:
    """``log.csv``: one row of means per ``every`` steps, appended."""

    def __init__(self, path: Path, every: int = 50) -> None:
        self.path, self.every = path, every
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, values: dict[str, float], step: int, minutes: float) -> dict[str, float] | None:
        """Count one step in; returns the row when one was written."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        return self.write(step, minutes) if self.count >= self.every else None

    def write(self, step: int, minutes: float) -> dict[str, float] | None:
        """Append the means since the last row, if there are any."""
        if not self.count:
            return None
        row = {"step": step, "minutes": round(minutes, 2)}
        row |= {name: float(f"{s / self.count:.5g}") for name, s in self.sums.items()}
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.sums, self.count = {}, 0
        return row


@torch.no_grad()
def save_samples(path: Path, model: GFRNet, batch: dict[str, torch.Tensor], rows: int = 8) -> None:
    """Write a picture of the first samples of a prepared batch, as the network sees them now."""
    batch = {name: value[:rows] for name, value in batch.items()}
    out = model(batch["degraded"], batch["guide"])
    columns = [batch["degraded"], batch["guide"], out.warped, out.restored, batch["truth"]]
    pictures = [(c.cpu() * 255).round().byte().permute(0, 2, 3, 1).numpy() for c in columns]
    titles = ("input", "guide", "warped", "output", "truth")
    grid = picture_grid([list(row) for row in zip(*pictures, strict=True)], titles)
    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(grid)).save(temporary)


def run(trainer: Trainer, store: FaceStore, out: Path, minutes: float, workers: int) -> None:
    """Train until the steps or the minutes are used up."""
    config = trainer.config
    loader = DataLoader(
        PairDataset(store, config.data, seed=config.seed),
        batch_size=config.batch,
        sampler=Upward(trainer.step * config.batch),
        num_workers=workers,
        pin_memory=trainer.device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )
    log = Log(out / "log.csv")
    last, saved = time.monotonic(), time.monotonic()
    bar = tqdm(total=config.steps, initial=trainer.step, unit="step", mininterval=5)
    for batch in loader:
        progress = max(trainer.step / config.steps, trainer.elapsed / (60 * minutes))
        if progress >= 1:
            break
        row = log.add(trainer.train_step(batch, progress), trainer.step, trainer.elapsed / 60)
        bar.update()
        if row:
            bar.set_postfix({k: v for k, v in row.items() if k not in ("step", "lr", "minutes")})
        now = time.monotonic()
        trainer.elapsed, last = trainer.elapsed + now - last, now
        if now - saved > 60 * config.checkpoint_minutes:
            saved = now
            trainer.save(out)
            save_samples(out / "samples.png", trainer.ema, prepare_batch(batch, trainer.device))
    bar.close()
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
    parser.add_argument("--minutes", type=float, default=math.inf, help="length of the run")
    parser.add_argument("--init-warpnet", type=Path, help="weights to take the WarpNet from")
    parser.add_argument("--init-recnet", type=Path, help="weights to take the RecNet from")
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--workers", type=int, default=1, help="loader processes")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 on bad input."""
    args = parse_arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        config = load_config(args.config)
        checkpoint = args.out / "checkpoint.pt"
        if checkpoint.exists() and not args.resume:
            raise ValueError(f"{args.out} holds a run already; add --resume or choose another.")
        if args.resume and not checkpoint.exists():
            raise ValueError(f"There is no {checkpoint} to resume from.")
        store = FaceStore.open(args.data, args.cache)
        model = build_model(config, store, args.init_warpnet, args.init_recnet)
        objective = Objective(config, args.models)
        device = pick_device(args.device)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    trainer = Trainer(config, model, objective, device)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.resume:
        trainer.resume(args.out)
    run(trainer, store, args.out, args.minutes, args.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
