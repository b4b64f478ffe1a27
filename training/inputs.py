"""What the commands that measure on a bench share: their options, their loading, their errors."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gfr.device import pick_device, pick_dtype
from gfr.errors import InputError
from gfr.files import replacing
from gfr.model import GFRNet
from gfr.weights import find_weights, load_model
from training.bench import Bench
from training.judge import Judge

DTYPES = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Inputs:
    """What every measurement on a bench needs."""

    bench: Bench
    judge: Judge
    model: GFRNet
    dtype: torch.dtype
    weights: Path


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """The options that :func:`open_inputs` reads."""
    add = parser.add_argument
    add("--bench", type=Path, required=True, help="folder of test cases")
    add("--weights", type=Path, help="safetensors file (default: the shipped weights)")
    add("--cases", type=int, help="a quick look: only so many cases, spread over the bench")
    add("--models", type=Path, help="folder of VGG16 and recogniser (default: beside the bench)")
    add("--recogniser", type=Path, help="TorchScript recogniser, N×3×150×150 in [0, 1] → N×D")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--dtype", choices=DTYPES, default="auto", help="default: the fastest that is safe here")
    add("--json", type=Path, help="also write the figures, per case too, to this file")


def open_inputs(options: argparse.Namespace) -> Inputs:
    """Load what the options name.

    Raises:
        InputError: something is missing or unreadable, or the JSON file's folder does not exist.
    """
    if options.json and not options.json.parent.is_dir():
        raise InputError(f"The folder {options.json.parent} does not exist.")
    device = pick_device(options.device)
    dtype = DTYPES[options.dtype] or pick_dtype(device)
    bench = Bench.load(options.bench)
    models = options.models or options.bench.resolve().parent / "models"
    judge = Judge.load(models, device, dtype, options.recogniser)
    weights = find_weights(options.weights)
    model = load_model(weights, device).to(memory_format=torch.channels_last)
    return Inputs(bench.spread(options.cases or len(bench)), judge, model, dtype, weights)


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write plain data, under a temporary name first."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")


def run_command(run: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """The exit code of ``run``: 0, or 2 with one sentence on stderr when the input is bad."""
    try:
        run(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def progress_bar(batches: Iterable[Bench]) -> Iterable[Bench]:
    """Show how many of the batches are done, on a terminal's stderr."""
    return tqdm(batches, unit="batch", file=sys.stderr, disable=None)
