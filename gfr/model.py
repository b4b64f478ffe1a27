"""GFRNet: WarpNet and RecNet as one network, and the two configurations it comes in.

    Φ  = WarpNet(I_d, I_g)
    I_w = I_g(Φ)                      bilinear sampling
    Î  = RecNet(I_d, I_w)

(GFRNet, ECCV 2018, equations 1 to 3)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gfr.recnet import GuideEncoder, PaperRecNetConfig, RecNetConfig, build_recnet
from gfr.warpnet import PaperWarpNetConfig, WarpNetConfig, build_warpnet, identity_grid, warp


@dataclass(frozen=True)
class GFRNetConfig:
    """What is needed to build a GFRNet; it travels in the metadata of the weights file."""

    name: str
    warpnet: WarpNetConfig | PaperWarpNetConfig
    recnet: RecNetConfig | PaperRecNetConfig

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON and TOML can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GFRNetConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: an unknown kind or field.
        """
        warp_kinds = {"compact": WarpNetConfig, "paper": PaperWarpNetConfig}
        rec_kinds = {"compact": RecNetConfig, "paper": PaperRecNetConfig}
        return cls(
            name=str(data["name"]),
            warpnet=_build(warp_kinds, data["warpnet"]),
            recnet=_build(rec_kinds, data["recnet"]),
        )


def _build(kinds: dict[str, type], data: dict[str, Any]) -> Any:
    kind = data.get("kind", "compact")
    if kind not in kinds:
        raise ValueError(f"Unknown network kind {kind!r}; there are {', '.join(kinds)}.")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    try:
        return kinds[kind](**values)
    except TypeError as error:
        raise ValueError(f"The {kind} network's configuration does not fit: {error}.") from None


CONFIGS: dict[str, GFRNetConfig] = {
    "compact": GFRNetConfig("compact", WarpNetConfig(), RecNetConfig()),
    "paper": GFRNetConfig("paper", PaperWarpNetConfig(), PaperRecNetConfig()),
}


class GFRNetOutput(NamedTuple):
    """What the network says about a batch."""

    restored: Tensor
    """Î, N×3×H×W; in [0, 1] when the network is in eval mode."""
    warped: Tensor
    """I_w, the guide in the pose of the degraded photo, N×3×H×W in [0, 1]."""
    flow: Tensor
    """Φ, N×2×H×W absolute sampling grid in [-1, 1], x first, ``align_corners=True``."""


class GFRNet(nn.Module):
    """Guided face restoration: (I_d, I_g) → Î."""

    def __init__(self, config: GFRNetConfig) -> None:
        super().__init__()
        self.config = config
        self.warpnet = build_warpnet(config.warpnet)
        widths = config.recnet.guide_widths
        self.guide_encoder = GuideEncoder(widths) if widths else None
        self.recnet = build_recnet(config.recnet)

    def forward(
        self, degraded: Tensor, guide: Tensor | None, strength: float = 1.0
    ) -> GFRNetOutput:
        """Restore a batch of aligned faces.

        Args:
            degraded: I_d, N×3×H×W in [0, 1]; H and W multiples of 32, 256 in training.
            guide: I_g, same shape; None when there is no guide, and the degraded photo stands in.
            strength: share of the warped guide in what RecNet reads, 0 (none) to 1.
        """
        if guide is None:
            grid = identity_grid(*degraded.shape[-2:], device=degraded.device)
            flow = grid.expand(len(degraded), -1, -1, -1)
            return self.restore(degraded, degraded, flow)
        return self.restore(degraded, guide, self.warpnet(degraded, guide), strength)

    def restore(
        self, degraded: Tensor, guide: Tensor, flow: Tensor, strength: float = 1.0
    ) -> GFRNetOutput:
        """RecNet's half, for a flow from anywhere; arguments as for :meth:`forward`."""
        warped = warp(guide, flow)
        features = [warp(f, flow) for f in self.encode(guide)]
        read = warped
        if strength != 1:
            own = self.encode(degraded)
            features = [torch.lerp(o, f, strength) for o, f in zip(own, features, strict=True)]
            read = torch.lerp(degraded, warped, strength)
        restored = self.recnet(degraded, read, features).float()
        if not self.training:
            restored = restored.clamp(0, 1)
        return GFRNetOutput(restored, warped, flow)

    def encode(self, guide: Tensor) -> list[Tensor]:
        """The guide encoder's levels; none in the plain form."""
        return self.guide_encoder(guide) if self.guide_encoder is not None else []
