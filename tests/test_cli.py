"""The command line, as a person or a script meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gfr import __version__
from gfr.cli import main
from gfr.images import load_image
from gfr.weights import sha256

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gfr", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on stderr: one line, and nothing on stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(".\n")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def write_pairs(
    path: Path, rows: list[tuple[str, ...]], header: str = "name,degraded,guide"
) -> Path:
    with path.open("w", newline="") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(rows)
    return path


def test_restore_from_a_shell(photo: Path, guide: Path, weights: Path, tmp_path: Path) -> None:
    out, grid = tmp_path / "out.png", tmp_path / "grid.png"
    done = run("restore", photo, guide, "-o", out, "--panels", grid, "--weights", weights, "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["output"] == str(out)
    assert report["faces"][0]["guide_index"] == 0
    assert report["faces"][0]["timings_ms"]["network"] > 0
    assert load_image(out).shape == (640, 640, 3)
    height, width = load_image(grid).shape[:2]
    assert width > 3 * height
    assert {path.name for path in tmp_path.iterdir()} == {"out.png", "grid.png"}


def test_an_error_from_a_shell(photo: Path, tmp_path: Path) -> None:
    text = tmp_path / "guide.txt"
    text.write_text("I am not an image.")
    done = run("restore", photo, text, "-o", tmp_path / "out.png")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "guide.txt is not an image" in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_mistakes_are_told_before_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from gfr.cli import main; "
        f"code = main(['restore', 'missing.png', '-o', {str(tmp_path / 'o.png')!r}]); "
        "assert not {'torch', 'mediapipe', 'matplotlib'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "gfr: There is no file missing.png.\n"


def test_restore_aligned_without_a_guide(
    crops: list[tuple[Path, Path]], weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    arguments = ["restore", crops[0][0], "-o", out, "--aligned", "--weights", weights]
    assert main([str(a) for a in arguments]) == 0
    assert load_image(out).shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["restore", "{tmp}/missing.jpg", "{guide}", "-o", "{out}"], "There is no file"),
        (["restore", "{photo}", "{tmp}/missing.jpg", "-o", "{out}"], "There is no file"),
        (["restore", "{text}", "{guide}", "-o", "{out}"], "not an image"),
        (["restore", "{photo}", "{text}", "-o", "{out}"], "not an image"),
        (["restore", "{photo}", "{tmp}", "-o", "{out}"], "is a folder"),
        (["restore", "{landscape}", "{guide}", "-o", "{out}"], "No face was found in"),
        (["restore", "{photo}", "{landscape}", "-o", "{out}"], "No face was found in"),
        (["restore", "{photo}", "-o", "{out}", "--aligned"], "256×256"),
        (["restore", "{photo}", "-o", "{tmp}/out.txt"], "image suffix"),
        (["restore", "{photo}", "-o", "{tmp}/nowhere/out.png"], "does not exist"),
        (["restore", "{photo}", "-o", "{out}", "--panels", "{out}"], "two different files"),
        (["restore", "{photo}", "-o", "{out}", "--strength", "2"], "strength"),
        (["restore", "{photo}", "-o", "{out}", "--device", "tpu"], "invalid choice"),
        (["restore", "{photo}", "-o", "{out}", "--weights", "{text}"], "safetensors"),
        (["restore", "{photo}", "-o", "{out}", "--weights", "{tmp}/no"], "no weights file"),
        (["restore", "-o", "{out}"], "Give a PHOTO"),
        (["restore", "{photo}"], "required"),
        (["restore", "{photo}", "--pairs", "{text}", "-o", "{out}"], "leave out PHOTO"),
        (["degrade", "{text}", "-o", "{out}"], "not an image"),
        (["degrade", "{photo}", "-o", "{out}", "--blur", "-1"], "blur"),
        (["degrade", "{photo}", "-o", "{out}", "--scale", "nan"], "scale"),
        (["degrade", "{photo}", "-o", "{out}", "--jpeg", "0"], "jpeg"),
        (["degrade", "{photo}", "-o", "{out}", "--noise", "much"], "invalid float"),
        (["info", "--weights", "{text}"], "safetensors"),
        (["polish"], "invalid choice"),
        ([], "required"),
    ],
)
def test_bad_input_is_one_sentence_and_no_output(
    arguments: list[str],
    reason: str,
    photo: Path,
    guide: Path,
    landscape: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    places = {
        "photo": photo,
        "guide": guide,
        "landscape": landscape,
        "text": text,
        "tmp": tmp_path,
        "out": tmp_path / "out.png",
    }
    filled = [argument.format(**places) for argument in arguments]
    if arguments[:1] == ["restore"] and "--weights" not in arguments:
        filled += ["--weights", str(weights)]
    assert main(filled) == 2
    assert reason in sentence(capsys)
    assert list(tmp_path.iterdir()) == [text]


def test_pairs_are_restored_into_a_folder(
    crops: list[tuple[Path, Path]],
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"person {i}" for i in range(len(crops))]
    for name, (photo, guide) in zip(names, crops, strict=True):
        (tmp_path / f"{name} bad.png").write_bytes(photo.read_bytes())
        (tmp_path / f"{name} good.png").write_bytes(guide.read_bytes())
    rows = [(name, f"{name} bad.png", f"{name} good.png") for name in names]
    rows[0] = (names[0], rows[0][1], "")
    pairs = write_pairs(tmp_path / "pairs.csv", rows)
    out = tmp_path / "deep" / "out"
    arguments = ["restore", "--pairs", pairs, "-o", out, "--aligned", "--weights", weights]
    assert main([str(a) for a in [*arguments, "--json"]]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [pair["name"] for pair in report["pairs"]] == names
    assert [pair["guide_index"] for pair in report["pairs"]] == [None, 0, 0, 0, 0, 0]
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.png" for name in names]
    alone = tmp_path / "alone.png"
    arguments = ["restore", *crops[1], "-o", alone, "--aligned", "--weights", weights]
    assert main([str(a) for a in arguments]) == 0
    assert np.array_equal(load_image(alone), load_image(out / f"{names[1]}.png"))
    # A second run replaces the results in the folder that is there now.
    (out / "mine.txt").write_text("keep")
    arguments = ["restore", "--pairs", pairs, "-o", out, "--aligned", "--weights", weights]
    assert main([str(a) for a in arguments]) == 0
    assert len(list(out.iterdir())) == len(names) + 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "lists no pairs"),
        ([("../escape", "good.png", "")], "line 2: The name must be a plain file name"),
        ([("a/b", "good.png", "")], "plain file name"),
        ([("a\\b", "good.png", "")], "plain file name"),
        ([("..", "good.png", "")], "plain file name"),
        ([("", "good.png", "")], "plain file name"),
        ([("a", "good.png", ""), ("A", "good.png", "")], "line 3: The name A is there twice"),
        ([("a", "", "good.png")], "The degraded photo is missing"),
        ([("a", "missing.png", "")], "There is no file"),
        ([("a", "good.png", "missing.png")], "There is no file"),
        ([("a", "good.png", "notes.png")], "not an image"),
        ([("a", "good.png")], "three fields"),
        ([("a", "good.png", "", "b")], "three fields"),
        ([("a", "good.png", ""), ("b", "wide.png", "")], "1 of 2 pairs cannot be restored (b)"),
    ],
)
def test_a_bad_list_writes_nothing(
    rows: list[tuple[str, ...]],
    reason: str,
    crops: list[tuple[Path, Path]],
    landscape: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "good.png").write_bytes(crops[0][0].read_bytes())
    (tmp_path / "wide.png").write_bytes(landscape.read_bytes())
    (tmp_path / "notes.png").write_text("not an image")
    pairs = write_pairs(tmp_path / "pairs.csv", rows)
    before = sorted(tmp_path.iterdir())
    arguments = ["restore", "--pairs", pairs, "-o", tmp_path / "out", "--aligned"]
    assert main([str(a) for a in [*arguments, "--weights", weights]]) == 2
    assert reason in sentence(capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_a_list_that_is_no_csv(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headless = write_pairs(tmp_path / "headless.csv", [], "a,b,c")
    for pairs, reason in [
        (photo, "not a readable CSV"),
        (tmp_path / "missing.csv", "cannot be read"),
        (headless, "lacks the column"),
    ]:
        assert main(["restore", "--pairs", str(pairs), "-o", str(tmp_path / "out")]) == 2
        assert reason in sentence(capsys)
    assert list(tmp_path.iterdir()) == [headless]


def test_degrade_is_seeded_and_off_by_default(photo: Path, tmp_path: Path) -> None:
    first, again, other, same = (tmp_path / f"{n}.png" for n in ("first", "again", "other", "same"))
    strong = ["--blur", "2", "--scale", "4", "--noise", "8", "--jpeg", "40"]
    for path, options in [
        (first, [*strong, "--seed", "1"]),
        (again, [*strong, "--seed", "1"]),
        (other, [*strong, "--seed", "2"]),
        (same, []),
    ]:
        assert main(["degrade", str(photo), "-o", str(path), *options]) == 0
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert np.array_equal(load_image(same), load_image(photo))
    assert np.abs(load_image(first).astype(int) - load_image(photo)).mean() > 1


def test_info_tells_what_is_used(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--weights", str(weights), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["gfr"] == __version__
    assert facts["sha256"] == sha256(weights)
    assert facts["config"]["name"] == "compact"
    assert {"torch", "mediapipe", "device", "dtype"} <= set(facts)
    assert main(["info", "--weights", str(weights)]) == 0
    assert sha256(weights) in capsys.readouterr().out


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in [(["--help"], "restore"), (["restore", "--help"], "--pairs")]:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert said in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
