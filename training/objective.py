"""The training objective: what one batch costs, term by term."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfr.model import GFRNet
from gfr.warpnet import WarpFlows, identity_grid
from training.adversarial import Adversary, Scene, active_terms
from training.config import TrainConfig
from training.data import NONE, WRONG
from training.distributed import masked_mean
from training.identity import Recogniser
from training.losses import (
    cut,
    face_corners,
    flow_loss,
    gradient_loss,
    landmark_loss,
    mse_loss,
    reconstruction_loss,
    total_variation_loss,
)
from training.perceptual import VGGFeatures, vgg_distance

Batch = dict[str, Tensor]


class Outcome(NamedTuple):
    """What the network made of a batch."""

    total: Tensor
    """The weighted sum of the terms; its gradient trains the network."""
    terms: dict[str, float]
    """Every term's own value."""
    restored: Tensor | None
    """Î, N×3×H×W; None in a stage without RecNet."""
    scene: Scene | None
    """What the discriminators are told beside Î."""


class Objective(nn.Module):
    """Batch → weighted loss and its parts. Holds the other networks that some terms need: frozen
    ones, and in ``adversary`` (None without adversarial terms) the discriminators.

    Args:
        config: the stage; terms of weight 0 are not computed, their networks not loaded.
        models: folder with ``vgg16_features.safetensors`` and ``identity_dlib_resnet.pt``; where it
            lacks the former, torchvision's own VGG16 is used.
    """

    def __init__(self, config: TrainConfig, models: Path) -> None:
        super().__init__()
        self.config = config
        vgg = models / "vgg16_features.safetensors"
        perceptual, identity = config.loss.perceptual, config.loss.identity
        self.vgg = VGGFeatures(vgg if vgg.exists() else None) if perceptual else None
        self.recogniser = Recogniser(models / "identity_dlib_resnet.pt") if identity else None
        self.adversary = Adversary(config) if active_terms(config) else None

    def forward(self, model: GFRNet, batch: Batch, generator: torch.Generator) -> Outcome:
        """What the batch costs.

        Args:
            batch: of a ``PairDataset``, images already float in [0, 1].
            generator: decides the perceptual crops.
        """
        terms: dict[str, Tensor] = {}
        restored = scene = None
        flow = batch["mesh_flow"]
        if "warpnet" in self.config.train or self.config.flow == "warpnet":
            with torch.set_grad_enabled("warpnet" in self.config.train):
                steps = model.warpnet.steps(batch["degraded"], batch["guide"])
            if "warpnet" in self.config.train:
                terms |= self._warp_terms(steps, batch)
            if self.config.flow == "warpnet":
                flow = steps.flows[-1]
        if "recnet" in self.config.train:
            none = (batch["kind"] == NONE)[:, None, None, None]
            grid = identity_grid(*flow.shape[-2:], device=flow.device)
            flow = torch.where(none, grid, flow)
            out = model.restore(batch["degraded"], batch["guide"], flow)
            restored = out.restored
            # Detached: WarpNet must not learn to bend the condition to the discriminators' taste.
            scene = Scene(batch["guide"], out.warped.detach(), batch["points"])
            terms |= self._image_terms(restored, batch, generator)
            if self.adversary is not None:
                terms |= self.adversary.generator_terms(restored, scene)
        total = sum(getattr(self.config.loss, name) * value for name, value in terms.items())
        values = {name: value.item() for name, value in terms.items()}
        return Outcome(total, values, restored, scene)

    def _warp_terms(self, steps: WarpFlows, batch: Batch) -> dict[str, Tensor]:
        """Every step is supervised; the last, which is used, counts most (as in RAFT)."""
        weights = [0.5**i for i in reversed(range(len(steps.flows)))]
        points, guide_points = batch["points"], batch["guide_points"]

        def over_steps(values: list[Tensor]) -> Tensor:
            return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

        loss, terms = self.config.loss, {}
        if loss.landmark:
            errors = [landmark_loss(f, points, guide_points) for f in steps.flows]
            terms["landmark"] = over_steps(errors)
        if loss.tv:
            terms["tv"] = over_steps([total_variation_loss(f) for f in steps.flows])
        if loss.flow:
            terms["flow"] = over_steps([flow_loss(f, batch["mesh_flow"]) for f in steps.flows])
        if loss.mesh and steps.meshes:
            truths = (points, guide_points)
            terms["mesh"] = sum(
                (found - true).abs().sum(2).mean()
                for found, true in zip(steps.meshes, truths, strict=True)
            )
        return terms

    def _image_terms(
        self, restored: Tensor, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        loss, truth, weight = self.config.loss, batch["truth"], batch["weight"]
        terms = {}
        if loss.reconstruction:
            terms["reconstruction"] = reconstruction_loss(restored, truth, weight)
        if loss.mse:
            terms["mse"] = mse_loss(restored, truth)
        if loss.gradient:
            terms["gradient"] = gradient_loss(restored, truth, weight)
        if self.vgg is not None:
            side = min(loss.crop, truth.shape[-1])
            corners = face_corners(batch["points"], truth.shape[-1], side, generator)
            with torch.no_grad():
                target = self.vgg(cut(truth, corners, side))
            features = self.vgg(cut(restored, corners, side))
            terms["perceptual"] = vgg_distance(features, target).mean()
        if self.recogniser is not None:
            with torch.no_grad():
                target = self.recogniser(truth)
            # A stranger's guide says nothing about who this is; such a face must not be guessed.
            known = (batch["kind"] != WRONG).float()
            distance = (self.recogniser(restored) - target).square().sum(1)
            terms["identity"] = masked_mean(distance, known)
        return terms


def prepare_batch(batch: Batch, device: torch.device) -> Batch:
    """Move a collated batch to the device; uint8 images become float in [0, 1], channels-last."""
    out = {}
    for name, value in batch.items():
        value = value.to(device, non_blocking=True)
        if value.dtype == torch.uint8:
            value = value.to(memory_format=torch.channels_last).float().div(255)
        out[name] = value
    return out
