"""The training log."""

from __future__ import annotations

import csv
from pathlib import Path

from gfr.files import replacing


class Log:
    """A CSV file: one row of means per ``every`` steps, appended.

    Args:
        path: the file. Rows later than ``step`` are dropped: a run that was killed takes the steps
            after its last checkpoint again.
        step: where the run is.
        every: steps per row.
    """

    def __init__(self, path: Path, step: int = 0, every: int = 50) -> None:
        self.path, self.every = path, every
        self.sums: dict[str, float] = {}
        self.count = 0
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            kept = [row for row in lines[1:] if int(row.partition(",")[0]) <= step]
            with replacing(path) as temporary:
                temporary.write_text("".join(lines[:1] + kept))

    def add(self, values: dict[str, float], step: int, minutes: float) -> dict[str, float] | None:
        """Count one step in; returns the row when one was written."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        return self.write(step, minutes) if self.count >= self.every else None

    def write(self, step: int, minutes: float) -> dict[str, float] | None:
        """Append the means since the last row, if there are any."""
        if not self.count:
            return None
        row = {"step": step, "minutes": round(minutes, 2)}
        row |= {name: float(f"{s / self.count:.5g}") for name, s in self.sums.items()}
        self._set_aside_other_columns(",".join(row))
        new = not self.path.exists() or not self.path.stat().st_size
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.sums, self.count = {}, 0
        return row

    def _set_aside_other_columns(self, header: str) -> None:
        """A run resumed with other loss terms begins a new file; the old rows stay beside it."""
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines()
        if lines and lines[0] != header:
            last = lines[-1].partition(",")[0]
            self.path.rename(self.path.with_name(f"{self.path.stem}-until-{last}.csv"))
