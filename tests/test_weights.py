"""Weights travel with their config, come from where they should, and are checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gfr import weights as module
from gfr.files import WEIGHTS_DIR
from gfr.model import CONFIGS, GFRNet
from gfr.weights import (
    DEFAULT_NAME,
    SUMS_NAME,
    WeightsError,
    check_sha256,
    find_weights,
    load_model,
    read_config,
    record_sha256,
    save_weights,
    sha256,
)


@pytest.fixture(scope="module")
def model() -> GFRNet:
    torch.manual_seed(0)
    return GFRNet(CONFIGS["compact"]).eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of ``weights/``, and no Hub repository."""
    monkeypatch.setattr(module, "WEIGHTS_DIR", tmp_path)
    monkeypatch.delenv("GFR_HUB_REPO", raising=False)
    monkeypatch.delenv("GFR_HUB_REVISION", raising=False)
    return tmp_path


@pytest.mark.parametrize("half", [True, False])
def test_a_model_comes_back_from_its_file(tmp_path: Path, model: GFRNet, half: bool) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, model, half)
    assert list(tmp_path.iterdir()) == [path]
    loaded = load_model(path)
    assert loaded.config == model.config
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        expected = tensor.half().float() if half else tensor
        assert torch.equal(loaded.state_dict()[name], expected)
    image = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        assert torch.equal(loaded(image, image).restored, loaded(image, image).restored)


def test_the_config_is_in_the_metadata(tmp_path: Path, model: GFRNet) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, model)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "gfr"
    assert json.loads(metadata["config"])["name"] == "compact"
    assert read_config(path) == CONFIGS["compact"]


def test_values_that_float16_cannot_hold_are_refused(tmp_path: Path, model: GFRNet) -> None:
    broken = GFRNet(CONFIGS["compact"])
    with torch.no_grad():
        next(broken.parameters()).view(-1)[0] = 1e6
    with pytest.raises(WeightsError, match="float16"):
        save_weights(tmp_path / "model.safetensors", broken)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_weights_are_named(tmp_path: Path, model: GFRNet) -> None:
    good, text, foreign, config, other = (
        tmp_path / f"{name}.safetensors" for name in ("good", "text", "foreign", "config", "other")
    )
    save_weights(good, model)
    text.write_text("not weights at all")
    save_file({"a": torch.zeros(1)}, foreign)
    save_file({"a": torch.zeros(1)}, config, {"format": "gfr", "config": "{}"})
    with safe_open(good, framework="pt") as file:
        metadata = file.metadata()
    save_file({**load_file(good), "more": torch.zeros(1)}, other, metadata)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-1000])
    for path in (tmp_path / "missing.safetensors", text, foreign, config, other, cut):
        with pytest.raises(WeightsError, match=path.stem):
            load_model(path)


def test_a_path_given_is_taken_as_it_is(folder: Path, tmp_path: Path, model: GFRNet) -> None:
    mine = tmp_path / "mine.safetensors"
    save_weights(mine, model)
    assert find_weights(mine) == mine
    with pytest.raises(WeightsError, match="There is no weights file"):
        find_weights(tmp_path / "missing.safetensors")


def test_without_any_weights_one_sentence_says_what_to_do(folder: Path) -> None:
    with pytest.raises(WeightsError, match="GFR_HUB_REPO") as caught:
        find_weights()
    assert "\n" not in str(caught.value)


def test_shipped_weights_must_have_their_sum(folder: Path, model: GFRNet) -> None:
    shipped = folder / DEFAULT_NAME
    save_weights(shipped, model)
    with pytest.raises(WeightsError, match="no sum"):
        find_weights()
    record_sha256(shipped)
    assert (folder / SUMS_NAME).read_text() == f"{sha256(shipped)}  {DEFAULT_NAME}\n"
    assert find_weights() == shipped
    with shipped.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(WeightsError, match="SHA-256"):
        find_weights()


def test_everything_in_the_weights_folder_has_its_sum() -> None:
    names = [line.split()[1] for line in (WEIGHTS_DIR / SUMS_NAME).read_text().splitlines()]
    assert "face_landmarker.task" in names
    for path in WEIGHTS_DIR.glob("*.safetensors"):
        assert path.name in names
    for name in names:
        check_sha256(WEIGHTS_DIR / name)


class HubHandler(BaseHTTPRequestHandler):
    """As much of the Hub as one download asks for: one file in one repository."""

    def __init__(self, *args: object, content: bytes) -> None:
        self.content = content
        super().__init__(*args)

    def do_HEAD(self) -> None:
        if self.path != f"/someone/gfr/resolve/v1/{DEFAULT_NAME}":
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"1234"')
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(
    folder: Path,
    model: GFRNet,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A Hub on this machine; yields the file it serves."""
    served = tmp_path_factory.mktemp("hub") / DEFAULT_NAME
    save_weights(served, model)
    handler = partial(HubHandler, content=served.read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    cache = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setenv("GFR_HUB_REPO", "someone/gfr")
    monkeypatch.setenv("GFR_HUB_REVISION", "v1")
    yield served
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_last_and_checked(hub: Path, folder: Path) -> None:
    (folder / SUMS_NAME).write_text(f"{sha256(hub)}  {DEFAULT_NAME}\n")
    found = find_weights()
    assert found.name == DEFAULT_NAME
    assert found.parent != folder
    assert read_config(found) == CONFIGS["compact"]
    (folder / SUMS_NAME).write_text(f"{'0' * 64}  {DEFAULT_NAME}\n")
    with pytest.raises(WeightsError, match="SHA-256"):
        find_weights()


def test_a_failed_download_says_so_in_one_sentence(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GFR_HUB_REVISION", "v2")
    with pytest.raises(WeightsError, match="someone/gfr@v2") as caught:
        find_weights()
    assert "\n" not in str(caught.value)
