"""The trainer's configuration: frozen dataclasses, read from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from gfr.degradation import PRESETS
from gfr.model import CONFIGS
from training.data import DataConfig

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; 0 turns one off, and it then costs nothing."""

    landmark: float = 0.0
    tv: float = 0.0
    flow: float = 0.0
    mesh: float = 0.0
    reconstruction: float = 0.0
    """Charbonnier distance; ``mse`` is the paper's squared one."""
    mse: float = 0.0
    gradient: float = 0.0
    perceptual: float = 0.0
    identity: float = 0.0
    global_gan: float = 0.0
    """Adversarial terms, see ``training.adversarial``: whole picture or face region ("local"), one
    verdict per picture or per patch."""
    local_gan: float = 0.0
    patch_global_gan: float = 0.0
    patch_local_gan: float = 0.0
    crop: int = 128
    """Side of the random crop around the face that the perceptual loss looks at."""


@dataclass(frozen=True)
class TrainConfig:
    """One training stage."""

    model: str = "compact"
    """Name of a configuration in ``gfr.model.CONFIGS``."""
    train: tuple[str, ...] = ("warpnet", "recnet")
    """Which networks learn; "recnet" includes the guide encoder."""
    flow: str = "warpnet"
    """What warps the guide for RecNet: "warpnet", or "mesh" (the meshes' own flow)."""
    batch: int = 16
    """Samples per step, of all processes together."""
    steps: int = 100_000
    lr: float = 3e-4
    lr_final: float = 0.0
    warmup: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 1e-4
    clip: float = 1.0
    """Bound on the gradient's norm."""
    ema: float = 0.998
    """Decay of the exponential moving average that is exported."""
    seed: int = 0
    checkpoint_minutes: float = 4.0
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)


def load_config(path: Path) -> TrainConfig:
    """Read a TOML file: keys of ``TrainConfig``, tables ``[data]`` and ``[loss]``.

    Raises:
        ValueError: no such file, no TOML, or an unknown key; one sentence.
    """
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"Cannot read the configuration {path}: {error}.") from None
    config = _fill(
        TrainConfig,
        {
            **data,
            "data": _fill(DataConfig, data.get("data", {}), path),
            "loss": _fill(LossConfig, data.get("loss", {}), path),
        },
        path,
    )
    unknown = set(config.train) - {"warpnet", "recnet"}
    if unknown or not config.train:
        raise ValueError(f"{path}: train must name warpnet, recnet or both, not {config.train}.")
    if config.flow not in ("warpnet", "mesh"):
        raise ValueError(f"{path}: flow must be warpnet or mesh, not {config.flow!r}.")
    if config.model not in CONFIGS:
        raise ValueError(f"{path}: model must be {' or '.join(CONFIGS)}, not {config.model!r}.")
    if config.data.preset not in PRESETS:
        raise ValueError(f"{path}: preset must be one of {', '.join(PRESETS)}.")
    shares = {f.name: getattr(config.data, f.name) for f in fields(DataConfig) if "share" in f.name}
    if any(not 0 <= share <= 1 for share in shares.values()):
        raise ValueError(f"{path}: every share must lie in 0…1.")
    if config.data.wrong_share + config.data.none_share > 1:
        raise ValueError(f"{path}: wrong_share and none_share add up to more than 1.")
    return config


def _fill(kind: type[T], values: dict[str, Any], path: Path) -> T:
    known = {f.name for f in fields(kind)}
    unknown = ", ".join(sorted(set(values) - known))
    if unknown:
        raise ValueError(f"{path}: unknown {unknown}; {kind.__name__} has {', '.join(known)}.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
