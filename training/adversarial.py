"""Adversarial terms: the restored face must look like a photo to discriminators that learn along.

Four, each with a weight in ``LossConfig``:

- ``global_gan``: the whole picture, given the guide and the warped guide (GFRNet, ECCV 2018,
  section 3.3);
- ``local_gan``: the face region alone (ibid.);
- ``patch_global_gan``, ``patch_local_gan``: the same views, judged patch by patch (pix2pix, Isola
  et al., CVPR 2017).

The loss is Goodfellow's logistic one in its non-saturating form: it is the paper's own, so the
paper's weights keep their meaning, and its slope of at most 1 per logit cannot outgrow the
regression losses, as those of hinge and least squares can.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import TrainConfig
from training.discriminators import DISCRIMINATORS, PatchDiscriminator, WholeDiscriminator

GAN_TERMS = ("global_gan", "local_gan", "patch_global_gan", "patch_local_gan")


class Scene(NamedTuple):
    """What a discriminator is told beside the picture; nothing here carries a gradient."""

    guide: Tensor
    """I_g, N×3×H×W in [0, 1]."""
    warped: Tensor
    """I_w, the same shape."""
    points: Tensor
    """Mesh points of the face in the picture, N×K×2 in [-1, 1], x first."""


def generator_loss(logits: Tensor) -> Tensor:
    """-log D(fake): what the network pays for not passing as a photo."""
    return F.softplus(-logits.float()).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)): what the discriminator pays for being wrong."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def face_region(image: Tensor, points: Tensor) -> Tensor:
    """The square around the face's mesh, a tenth wider, at half the picture's side.

    Bilinear, ``align_corners=True``, border repeated; differentiable in ``image``.

    Args:
        image: N×C×H×H.
        points: N×K×2 in [-1, 1], x first.

    Returns:
        N×C×H/2×H/2: a face in an FFHQ crop is about that large, so nothing is lost.
    """
    low, high = points.amin(1), points.amax(1)
    centre = (low + high) / 2
    half = 1.1 * (high - low).amax(1) / 2
    theta = torch.cat(
        [torch.eye(2, device=image.device) * half[:, None, None], centre[..., None]], 2
    )
    side = image.shape[-1] // 2
    with torch.autocast(image.device.type, enabled=False):
        shape = [len(image), image.shape[1], side, side]
        grid = F.affine_grid(theta.float(), shape, align_corners=True)
        return F.grid_sample(
            image.float(), grid, mode="bilinear", padding_mode="border", align_corners=True
        )


def view(term: str, image: Tensor, scene: Scene) -> Tensor:
    """What the discriminator behind ``term`` is shown of a picture N×3×H×W in [0, 1]."""
    if term.endswith("local_gan"):
        return face_region(image, scene.points)
    return torch.cat([scene.guide, scene.warped, image], 1)


class Adversary(nn.Module):
    """The discriminators of the terms whose weight is not 0."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        widths = DISCRIMINATORS[config.model]
        self.judges = nn.ModuleDict()
        for term in active_terms(config):
            channels = 3 if term.endswith("local_gan") else 9
            patch = term.startswith("patch")
            self.judges[term] = (
                PatchDiscriminator(channels, widths.patch)
                if patch
                else WholeDiscriminator(channels, widths.whole)
            )

    def generator_terms(self, restored: Tensor, scene: Scene) -> dict[str, Tensor]:
        """Every term as the network pays it; the discriminators stay as they are."""
        self.requires_grad_(False).eval()  # eval: spectral norm's estimate is not moved either
        return {
            term: generator_loss(judge(view(term, restored, scene)))
            for term, judge in self.judges.items()
        }

    def discriminator_terms(
        self, restored: Tensor, truth: Tensor, scene: Scene
    ) -> dict[str, Tensor]:
        """Every discriminator's own loss; no gradient reaches ``restored``."""
        self.requires_grad_(True).train()
        terms = {}
        for term, judge in self.judges.items():
            pictures = [view(term, image, scene) for image in (truth, restored.detach())]
            real, fake = judge(torch.cat(pictures)).chunk(2)
            terms[f"{term}_rival"] = discriminator_loss(real, fake)
        return terms


def active_terms(config: TrainConfig) -> list[str]:
    """The adversarial terms that the stage uses: those with a weight, if it trains RecNet."""
    if "recnet" not in config.train:
        return []
    return [term for term in GAN_TERMS if getattr(config.loss, term)]
