"""The command line: ``python -m gfr restore | degrade | info``.

Exit codes: 0 success; 2 bad input, with one sentence on stderr and no output left behind.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gfr import __version__
from gfr.errors import InputError

if TYPE_CHECKING:
    from gfr.restorer import Restorer, Result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; ``argv`` is without the program's name. Returns the exit code."""
    try:
        args = _parser().parse_args(argv)
        args.run(args)
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        named = f"{error.filename}: {error.strerror}." if error.filename else str(error)
        return _fail(named)
    except ImportError as error:
        if ".so" not in str(error):
            raise
        return _fail(
            f"A system library is missing ({error}); on Debian and Ubuntu: apt-get install libgl1 "
            "libegl1 libgles2 libglib2.0-0."
        )
    except KeyboardInterrupt:
        return 130
    return 0


def _fail(sentence: str) -> int:
    print(f"gfr: {' '.join(sentence.split())}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage block."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m gfr", description="Guided face restoration.")
    parser.add_argument("--version", action="version", version=f"gfr {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    restore = commands.add_parser(
        "restore",
        help="restore a photo, or a list of photos",
        description="Restore the face in PHOTO with the help of sharp photos of the same person. "
        "With several guides, the one closest in pose is used; without any, the face is restored "
        "from PHOTO alone.",
    )
    restore.add_argument("photo", nargs="?", metavar="PHOTO", type=Path)
    restore.add_argument("guides", nargs="*", metavar="GUIDE", type=Path)
    restore.add_argument(
        "--pairs",
        metavar="PAIRS.csv",
        type=Path,
        help="restore a list: columns name,degraded,guide; paths count from the list's folder; an "
        "empty guide means none; writes NAME.png into the output folder",
    )
    restore.add_argument("-o", "--output", required=True, metavar="OUT", type=Path)
    restore.add_argument(
        "--aligned",
        action="store_true",
        help="the images are 256×256 aligned faces already: skip the search",
    )
    restore.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="0…1",
        help="how much of the guide is used (default: 1)",
    )
    restore.add_argument(
        "--panels",
        metavar="GRID.png",
        type=Path,
        help="also write degraded, guide, warped guide and restored side by side",
    )
    restore.add_argument("--json", action="store_true", help="print a report as JSON")
    _add_model_options(restore)
    restore.set_defaults(run=_restore)

    degrade = commands.add_parser(
        "degrade",
        help="degrade a photo: blur, downsampling, noise, JPEG, in that order",
        description="Degrade a photo: blur, downsampling, noise, JPEG, and back up to size. Every "
        "step is off unless its option is given.",
    )
    degrade.add_argument("photo", metavar="IN", type=Path)
    degrade.add_argument("-o", "--output", required=True, metavar="OUT", type=Path)
    degrade.add_argument("--blur", type=float, default=0.0, metavar="σ", help="sigma in pixels")
    degrade.add_argument("--scale", type=float, default=1.0, metavar="s", help="factor, from 1")
    degrade.add_argument("--noise", type=float, default=0.0, metavar="σ", help="in levels of 255")
    degrade.add_argument("--jpeg", type=int, default=None, metavar="q", help="quality, 1…100")
    degrade.add_argument("--seed", type=int, default=0, metavar="n", help="of the noise")
    degrade.set_defaults(run=_degrade)

    info = commands.add_parser("info", help="versions, device and weights in use")
    info.add_argument("--json", action="store_true", help="print as JSON")
    _add_model_options(info)
    info.set_defaults(run=_info)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="default: the shipped ones")


def _restore(args: argparse.Namespace) -> None:
    if not 0 <= args.strength <= 1:
        raise InputError(f"The guide's strength must lie in 0…1, not {args.strength}.")
    if args.pairs is not None:
        _restore_pairs(args)
    elif args.photo is None:
        raise InputError("Give a PHOTO to restore, or a list with --pairs.")
    else:
        _restore_one(args)


def _restore_one(args: argparse.Namespace) -> None:
    from gfr.images import check_image, check_output, save_image

    outputs = [path for path in (args.output, args.panels) if path is not None]
    for path in outputs:
        check_output(path)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError("-o and --panels must name two different files.")
    for path in (args.photo, *args.guides):
        check_image(path)
    restorer = _load(args)
    result = restorer.restore(args.photo, args.guides, args.strength, args.aligned)
    save_image(args.output, result.image)
    if args.panels is not None:
        from gfr.visualize import panels

        try:
            save_image(args.panels, panels(result.faces[0]))
        except InputError:
            args.output.unlink()  # both or none
            raise
    if args.json:
        _print_json({"output": str(args.output), **_report(restorer, result)})


def _restore_pairs(args: argparse.Namespace) -> None:
    from gfr.pairs import read_pairs, restore_pairs

    if args.photo is not None or args.panels is not None:
        raise InputError("--pairs takes the photos from the list: leave out PHOTO and --panels.")
    pairs = read_pairs(args.pairs)
    restorer = _load(args)
    results = restore_pairs(restorer, pairs, args.output, args.strength, args.aligned)
    if args.json:
        _print_json({**_about(restorer), "output": str(args.output), "pairs": results})


def _degrade(args: argparse.Namespace) -> None:
    from gfr.degradation import Degradation, degrade
    from gfr.images import check_output, load_image, save_image

    check_output(args.output)
    try:
        degradation = Degradation(args.blur, args.scale, args.noise, args.jpeg, args.seed)
    except ValueError as error:
        raise InputError(str(error)) from error
    save_image(args.output, degrade(load_image(args.photo), degradation))


def _info(args: argparse.Namespace) -> None:
    import platform
    from importlib.metadata import version

    import torch

    from gfr.device import pick_device, pick_dtype
    from gfr.weights import find_weights, read_config, sha256

    device = pick_device(args.device)
    weights = find_weights(args.weights)
    packages = ("torch", "torchvision", "mediapipe", "gradio", "numpy", "opencv-contrib-python")
    facts = {
        "gfr": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else str(device),
        "dtype": str(pick_dtype(device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "weights": str(weights),
        "sha256": sha256(weights),
        "config": read_config(weights).to_dict(),
    }
    if args.json:
        _print_json(facts)
    else:
        for name, value in facts.items():
            print(f"{name:22} {json.dumps(value) if isinstance(value, dict) else value}")


def _load(args: argparse.Namespace) -> Restorer:
    from gfr.restorer import Restorer

    return Restorer.load(args.device, args.weights)


def _about(restorer: Restorer) -> dict[str, Any]:
    return {
        "device": str(restorer.device),
        "dtype": str(restorer.dtype).removeprefix("torch."),
        "weights": str(restorer.weights),
    }


def _report(restorer: Restorer, result: Result) -> dict[str, Any]:
    faces = [
        {"box": face.box, "guide_index": face.guide_index, "timings_ms": face.timings_ms}
        for face in result.faces
    ]
    return {**_about(restorer), "faces": faces}


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
