"""The picture of the training logs."""

from __future__ import annotations

from pathlib import Path

from gfr.images import load_image
from training.curves import main as draw_curves_of


def write_log(run: Path) -> Path:
    run.mkdir()
    rows = [f"{50 * i},{i},{1 / i:.3f},{2 / i:.3f}" for i in range(1, 9)]
    (run / "log.csv").write_text("\n".join(["step,minutes,landmark,mesh", *rows]) + "\n")
    return run


def test_the_curves_of_two_runs_become_one_picture(tmp_path):
    runs = [str(write_log(tmp_path / name)) for name in ("one", "two")]
    assert draw_curves_of([*runs, "-o", str(tmp_path / "curves.png")]) == 0
    picture = load_image(tmp_path / "curves.png")
    assert picture.std() > 5 and picture.shape[0] > 300


def test_a_folder_without_a_log_is_one_sentence(tmp_path, capsys):
    assert draw_curves_of([str(tmp_path), "-o", str(tmp_path / "c.png")]) == 2
    assert "log.csv" in capsys.readouterr().err
    assert not (tmp_path / "c.png").exists()
