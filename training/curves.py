"""Draw the losses of finished runs: ``python -m training.curves RUN [RUN…] -o FILE.png``."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from gfr.errors import InputError
from gfr.files import replacing
from gfr.images import check_output

TERMS = ("mesh", "landmark", "reconstruction", "gradient", "perceptual", "identity")


def read_log(run: Path) -> dict[str, list[float]]:
    """The columns of a run's ``log.csv``.

    Raises:
        InputError: there is no log, or it is empty.
    """
    path = run / "log.csv"
    if not path.is_file():
        raise InputError(f"There is no {path}; name the folder of a training run.")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise InputError(f"{path} holds no rows yet.")
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def draw_curves(logs: dict[str, dict[str, list[float]]]) -> Figure:
    """One row per run, one panel per loss term that it has, over minutes of training."""
    columns = max(sum(term in log for term in TERMS) for log in logs.values())
    figure = Figure(figsize=(2.6 * columns, 2.1 * len(logs)), layout="constrained")
    axes = figure.subplots(len(logs), columns, squeeze=False)
    for row, (name, log) in zip(axes, logs.items(), strict=True):
        present = [term for term in TERMS if term in log]
        for axis, term in zip(row, present, strict=False):
            axis.plot(log["minutes"], log[term], linewidth=1)
            axis.set_title(f"{name}: {term}", fontsize=9)
            axis.tick_params(labelsize=7)
            axis.set_xlabel("minutes", fontsize=7)
        for axis in row[len(present) :]:
            axis.set_axis_off()
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m training.curves", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(argv)
    matplotlib.use("agg")
    try:
        check_output(options.output)
        figure = draw_curves({run.name: read_log(run) for run in options.runs})
        with replacing(options.output) as temporary:
            figure.savefig(temporary, dpi=110)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
