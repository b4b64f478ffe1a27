"""One side of the game: some parameters, their optimiser, and the step it takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.distributed import average_gradients


class Learner:
    """AdamW on ``parameters``, the gradient's norm bounded by ``clip``.

    Args:
        dtype: what the losses are computed in; float16 needs the loss scaled.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        betas: tuple[float, float],
        weight_decay: float,
        clip: float,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.parameters, self.clip = parameters, clip
        self.optimizer = torch.optim.AdamW(parameters, betas=betas, weight_decay=weight_decay)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def update(self, loss: Tensor, rate: float) -> float:
        """One step against ``loss`` at learning rate ``rate``; returns the gradient's norm.

        Raises:
            FloatingPointError: the gradient is not finite, and no loss scale explains it.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        average_gradients(self.parameters)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if not self.scaler.is_enabled() and not norm.isfinite():
            raise FloatingPointError("The gradient is not finite.")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(norm)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
