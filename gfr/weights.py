"""Weights: safetensors files that carry their config, where they come from, and their checksums."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from gfr.errors import InputError
from gfr.files import WEIGHTS_DIR, replacing
from gfr.model import GFRNet, GFRNetConfig

DEFAULT_NAME = "gfr-compact.safetensors"
SUMS_NAME = "SHA256SUMS"


class WeightsError(InputError):
    """No usable weights; the message is one sentence that says what to do."""


def save_weights(path: str | os.PathLike[str], model: GFRNet, half: bool = True) -> None:
    """Write a model's weights and config to one safetensors file.

    Args:
        path: the file; it is written under a temporary name and renamed.
        model: its ``config`` goes into the metadata.
        half: store floating-point tensors as float16, which halves the file.

    Raises:
        WeightsError: a weight is not finite (in float16, if ``half``).
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float16 if half else torch.float32)
            if not tensor.isfinite().all():
                raise WeightsError(f"{name} holds values that {tensor.dtype} cannot hold.")
        tensors[name] = tensor
    metadata = {"format": "gfr", "config": json.dumps(model.config.to_dict(), sort_keys=True)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
        temporary.chmod(0o644)  # safetensors writes for the owner alone


def read_config(path: str | os.PathLike[str]) -> GFRNetConfig:
    """The config in a weights file's metadata.

    Raises:
        WeightsError: the file is missing, is no safetensors file, or was not written by GFR.
    """
    if not Path(path).is_file():
        raise WeightsError(f"There is no weights file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}).") from error
    if metadata.get("format") != "gfr" or "config" not in metadata:
        raise WeightsError(f"{path} was not written by GFR: its metadata holds no config.")
    try:
        return GFRNetConfig.from_dict(json.loads(metadata["config"]))
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(
            f"{path} holds a config that this version cannot read ({error})."
        ) from error


def load_model(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> GFRNet:
    """Build the network that a weights file describes and load its weights.

    Returns:
        The model in evaluation mode, on ``device``, its parameters in ``dtype``.

    Raises:
        WeightsError: the file is missing or unreadable, or does not fit its own config.
    """
    config = read_config(path)
    with torch.device("meta"):
        model = GFRNet(config)
    try:
        model.load_state_dict(load_file(path), strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"The tensors in {path} do not fit the config in its metadata."
        ) from error
    return model.to(device=device, dtype=dtype).eval().requires_grad_(False)


def find_weights(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Where the weights are: the path given, else ``weights/``, else the Hugging Face Hub.

    The Hub is asked only when the environment names a repository in ``GFR_HUB_REPO`` (revision:
    ``GFR_HUB_REVISION``, default ``main``). Files from ``weights/`` and from the Hub must have the
    sum that ``weights/SHA256SUMS`` gives; a path given explicitly is taken as it is.

    Raises:
        WeightsError: there are none, or their checksum is wrong.
    """
    if explicit is not None:
        if not Path(explicit).is_file():
            raise WeightsError(f"There is no weights file {explicit}.")
        return Path(explicit)
    shipped = WEIGHTS_DIR / DEFAULT_NAME
    if shipped.is_file():
        check_sha256(shipped)
        return shipped
    repo = os.environ.get("GFR_HUB_REPO")
    if not repo:
        raise WeightsError(
            f"There are no weights: put {DEFAULT_NAME} into {WEIGHTS_DIR}, give a file with "
            "--weights, or name a Hugging Face repository in GFR_HUB_REPO."
        )
    path = _download(repo, os.environ.get("GFR_HUB_REVISION") or "main")
    check_sha256(path)
    return path


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 sum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: Path, sums: Path | None = None) -> None:
    """Check a file against a list in the format of ``sha256sum`` (default: the shipped one).

    Raises:
        WeightsError: the list does not name the file, or the sum differs.
    """
    sums = sums or WEIGHTS_DIR / SUMS_NAME
    expected = _read_sums(sums).get(path.name)
    if expected is None:
        raise WeightsError(
            f"{sums} gives no sum for {path.name}; to use the file all the same, name it with "
            f"--weights {path}."
        )
    if sha256(path) != expected:
        raise WeightsError(
            f"{path} does not have the SHA-256 sum that {sums} gives: the file is damaged or not "
            "the shipped one; fetch it again, or name it with --weights to use it all the same."
        )


def record_sha256(path: str | os.PathLike[str]) -> None:
    """Enter a file's sum into ``SHA256SUMS`` in its own folder, replacing an older entry."""
    path = Path(path)
    sums = path.with_name(SUMS_NAME)
    entries = {**_read_sums(sums), path.name: sha256(path)}
    with replacing(sums) as temporary:
        temporary.write_text("".join(f"{s}  {name}\n" for name, s in sorted(entries.items())))


def _read_sums(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    return {name.lstrip("*").strip(): digest.lower() for digest, name in lines}


def _download(repo: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download  # slow to import, seldom needed
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, DEFAULT_NAME, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{DEFAULT_NAME} could not be fetched from {repo}@{revision} on the Hugging Face Hub: "
            f"{reason}"
        ) from error
