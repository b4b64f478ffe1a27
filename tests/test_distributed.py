"""Runs that are shared by processes, and runs that are killed: the real command, really killed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, assert_same_state

from training.train import main, parse_arguments, prepare

CONFIG = """\
model = "compact"
batch = 4
steps = {steps}
lr = 1e-3
warmup = 1
checkpoint_minutes = {checkpoint_minutes}

[data]
size = 64
wrong_share = 0.3
none_share = 0.1
jitter = 3.0

[loss]
landmark = 1.0
tv = 0.02
flow = 0.2
reconstruction = 1.0
perceptual = 0.05
identity = 0.1
patch_global_gan = 0.1
local_gan = 0.1
crop = 32
"""


@pytest.fixture
def command(crop_folder, models, tmp_path):
    """→ the options of a run called ``name``: float32, one thread, so that it is repeatable."""

    def options(name: str, steps: int, checkpoint_minutes: float = 60) -> list[str]:
        config = tmp_path / f"{name}.toml"
        config.write_text(CONFIG.format(steps=steps, checkpoint_minutes=checkpoint_minutes))
        options = {"config": config, "data": crop_folder, "out": tmp_path / name, "models": models}
        options |= {"cache": tmp_path / "cache", "device": "cpu", "dtype": "float32"}
        options |= {"threads": 1, "workers": 0}
        return [text for key, value in options.items() for text in (f"--{key}", str(value))]

    return options


def launch(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def checkpoint(out: Path) -> dict:
    return torch.load(out / "checkpoint.pt", weights_only=True)


def last_row(out: Path) -> dict[str, float]:
    with (out / "log.csv").open() as file:
        return {k: float(v) for k, v in list(csv.DictReader(file))[-1].items()}


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in state.values()])


def test_two_processes_take_the_steps_of_one(command, tmp_path):
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = launch(*launcher, "-m", "training.train", *command("two", steps=3))
    assert main(command("one", steps=3)) == 0
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    one, two = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    assert one["step"] == two["step"] == 3
    a, b = last_row(tmp_path / "one"), last_row(tmp_path / "two")
    assert a.pop("minutes") > 0 and b.pop("minutes") > 0
    assert a == pytest.approx(b, rel=2e-3)
    # Adam divides by the gradient's size, so that a rounding error may turn the step of a weight
    # whose gradient is almost nothing; all weights together went the same way.
    trainer, _ = prepare(parse_arguments(command("start", steps=3)))
    for networks in (lambda state: state, lambda state: state["rival"]):
        begun, x, y = (flat(networks(state)["model"]) for state in (trainer.state_dict(), one, two))
        assert (x - y).norm() < 0.02 * (x - begun).norm()


def test_a_killed_run_resumes_where_it_was(command, tmp_path):
    """SIGKILL after some checkpoint; then the end is that of a run that nobody killed."""
    steps = 12
    process = launch("training.train", *command("killed", steps, checkpoint_minutes=0))
    killed = tmp_path / "killed"
    while not (killed / "checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()
    reached = checkpoint(killed)["step"]
    assert 1 <= reached < steps
    (killed / f".{'0a' * 16}.pt").write_bytes(b"the half of a checkpoint")
    assert main([*command("killed", steps), "--resume"]) == 0
    assert main(command("whole", steps)) == 0
    one, other = checkpoint(killed), checkpoint(tmp_path / "whole")
    assert one["step"] == other["step"] == steps
    for kind in ("model", "ema"):
        assert_same_state(one[kind], other[kind])
    assert_same_state(one["rival"]["model"], other["rival"]["model"])
    assert not list(killed.glob(".*"))


def test_a_batch_that_cannot_be_shared_ends_with_one_sentence(command, tmp_path):
    options = command("odd", steps=1)
    config = tmp_path / "odd.toml"
    config.write_text(config.read_text().replace("batch = 4", "batch = 5"))
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = launch(*launcher, "-m", "training.train", *options)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "error: A batch of 5 cannot be shared by 2 processes." in output
    assert not (tmp_path / "odd").exists()
