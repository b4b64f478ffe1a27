"""Which device to compute on, and in which type."""

from __future__ import annotations

import torch

from gfr.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """The device that "auto", "cpu" or "cuda" means here.

    Raises:
        InputError: another name, or CUDA where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"The device must be auto, cpu or cuda, not {name}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA device here; use --device cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def pick_dtype(device: torch.device) -> torch.dtype:
    """The fastest type that is safe: bfloat16 where the hardware computes in it, else float32.

    A CPU must have AVX512-BF16 or AMX: without them bfloat16 is emulated, and slower than float32.
    A CUDA device without bfloat16 gets float16.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    # Older versions of torch cannot tell what the CPU has.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32
