"""The state of a training run, and its step."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gfr.device import pick_dtype
from gfr.files import replacing
from gfr.model import GFRNet
from gfr.weights import save_weights
from training.config import TrainConfig
from training.distributed import mean_over_processes, rank, world_size
from training.learner import Learner
from training.objective import Objective, Outcome, prepare_batch
from training.schedule import learning_rate


class Trainer:
    """Network, moving average, discriminators if any, optimisers, position.

    Args:
        dtype: what the losses are computed in; None is the fastest that is safe on the device.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: GFRNet,
        objective: Objective,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.config, self.device, self.dtype = config, device, dtype or pick_dtype(device)
        self.model = model.to(device, memory_format=torch.channels_last)
        self.objective = objective.to(device)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        decay, clip = config.weight_decay, config.clip
        self.learner = Learner(
            self._choose_parameters(), (0.9, 0.99), decay, clip, device, self.dtype
        )
        self.rival = None
        if objective.adversary is not None:
            # Little momentum, as in pix2pix: the two sides' moves chase each other otherwise.
            parameters = list(objective.adversary.parameters())
            self.rival = Learner(parameters, (0.5, 0.99), decay, clip, device, self.dtype)
        self.step, self.elapsed, self.minutes = 0, 0.0, math.inf

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

    def train_step(self, batch: dict[str, Tensor], progress: float) -> dict[str, float]:
        """One step of the network, then of the discriminators; returns the log's values.

        Args:
            batch: this process's share, collated.
            progress: of the run, 0 to 1.

        Raises:
            FloatingPointError: a gradient is not finite.
        """
        rate = learning_rate(self.config, self.step, progress)
        batch = prepare_batch(batch, self.device)
        seed = self.config.seed + self.step
        torch.manual_seed(seed * world_size() + rank())  # dropout, the same in a resumed run
        autocast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        with autocast:
            outcome = self.objective(self.model, batch, torch.Generator().manual_seed(seed))
        norm = self.learner.update(outcome.total, rate)
        values = {"total": float(outcome.total.detach()), **outcome.terms}
        if self.rival is not None:
            with autocast:
                terms = self._rival_terms(batch, outcome)
            self.rival.update(sum(terms.values()), rate)
            values |= {name: value.item() for name, value in terms.items()}
        self._update_ema()
        self.step += 1
        return mean_over_processes(values, self.device) | {"grad_norm": norm, "lr": rate}

    def _rival_terms(self, batch: dict[str, Tensor], outcome: Outcome) -> dict[str, Tensor]:
        adversary = self.objective.adversary
        return adversary.discriminator_terms(outcome.restored, batch["truth"], outcome.scene)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for a, b in zip(self.ema.parameters(), self.model.parameters(), strict=True):
            if b.requires_grad:
                a.lerp_(b, 1 - decay)
        for a, b in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            a.copy_(b)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            **self.learner.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "minutes": self.minutes,
        }
        if self.rival is not None:
            discriminators = self.objective.adversary.state_dict()
            state["rival"] = {"model": discriminators, **self.rival.state_dict()}
        return state

    def save(self, out: Path) -> None:
        """Write the checkpoint and export the moving average; a kill leaves the previous pair."""
        with replacing(out / "checkpoint.pt") as temporary:
            torch.save(self.state_dict(), temporary)
        save_weights(out / "weights.safetensors", self.ema)

    def resume(self, out: Path) -> None:
        """Continue from ``out/checkpoint.pt``.

        Raises:
            ValueError: it is of another network, or of a run with other discriminators.
        """
        state = torch.load(out / "checkpoint.pt", map_location="cpu", weights_only=True)
        if ("rival" in state) != (self.rival is not None):
            raise ValueError(
                f"The run in {out} and the configuration differ in adversarial terms; begin a new "
                "stage with --init-warpnet and --init-recnet."
            )
        try:
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.learner.load_state_dict(state)
            if self.rival is not None:
                self.objective.adversary.load_state_dict(state["rival"]["model"])
                self.rival.load_state_dict(state["rival"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"The run in {out} trains other networks than the configuration."
            ) from error
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.minutes = state.get("minutes", math.inf)
