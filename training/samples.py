"""A look at what the network makes of a training batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gfr.files import replacing
from gfr.model import GFRNet
from training.grid import picture_grid


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
