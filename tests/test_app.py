"""The page's process: it starts with one sentence or not at all, and leaves no photo behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from gfr.files import WEIGHTS_DIR
from gfr.weights import DEFAULT_NAME

ROOT = Path(__file__).resolve().parent.parent


def start(folder: Path, port: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PORT": port, "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_port_that_is_none_is_one_sentence(tmp_path):
    if not (WEIGHTS_DIR / DEFAULT_NAME).is_file():
        pytest.skip("the shipped weights are not there")
    process = start(tmp_path, "seven")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "PORT must be a number" in error and "Traceback" not in error


def test_it_serves_and_a_kill_leaves_no_picture(tmp_path):
    if not (WEIGHTS_DIR / DEFAULT_NAME).is_file():
        pytest.skip("the shipped weights are not there")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start(tmp_path, str(port))
    deadline = time.monotonic() + 300
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        try:
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()
            break
        except OSError:
            time.sleep(0.5)
    assert b"Guided face restoration" in page
    assert list(tmp_path.rglob("*.png"))  # the finished example it opens on
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert not list(tmp_path.rglob("*.png"))
