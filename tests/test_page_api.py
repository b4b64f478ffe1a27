"""The page's API, as a program calls it."""

from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

DEGRADATION = {"blur": 2, "scale": 4, "noise": 5, "jpeg": 40, "seed": 1, "strength": 1}
DRAWING = {"flow": "Arrows", "spacing": 16, "colour": "direction", "landmarks": False}


@pytest.fixture(scope="module")
def client(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = tmp_path_factory.mktemp("downloads")
    return Client(page_url, download_files=str(folder), verbose=False)


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(b64decode(uri.split(",", 1)[1]))))


def test_restores_a_photo(client: Client, photo: Path, guide: Path):
    guides = [{"image": handle_file(guide), "caption": None}]
    _, whole, face, panels = client.predict(
        handle_file(photo), guides, 1.0, *DRAWING.values(), api_name="/restore"
    )
    assert Image.open(whole).size == Image.open(photo).size
    assert Image.open(face).size == (256, 256)
    assert decoded(panels["warped"]).shape == (512, 512, 3)


def test_degrades_and_restores(client: Client, photo: Path, guide: Path):
    arguments = {"photo": handle_file(photo), "guide": handle_file(guide)}
    panels, scores, pair = client.predict(
        **arguments, **DEGRADATION, **DRAWING, api_name="/degrade"
    )
    clean = DEGRADATION | {"blur": 0, "scale": 1, "noise": 0, "jpeg": 100}
    sharp, perfect, _ = client.predict(**arguments, **clean, **DRAWING, api_name="/degrade")
    assert len(pair) == 2
    assert float(scores["psnr_input"]) < 40
    assert perfect["psnr_input"] == "∞"
    assert decoded(panels["degraded"]).std() < decoded(sharp["degraded"]).std()


def test_says_what_is_wrong_in_a_sentence(client: Client, guide: Path, tmp_path: Path):
    text = tmp_path / "letter.jpg"
    text.write_text("Dear Sir or Madam")
    arguments = {"photo": handle_file(text), "guide": handle_file(guide)}
    with pytest.raises(AppError, match="not an image") as error:
        client.predict(**arguments, **DEGRADATION, **DRAWING, api_name="/degrade")
    assert "tmp" not in str(error.value)


def test_every_action_is_named_and_documented(client: Client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    actions = {"/restore", "/redraw", "/degrade", "/preset", "/guide_test", "/curve"}
    assert set(endpoints) == actions | {"/load_example"}
    for name in actions:
        assert endpoints[name]["description"]
        assert all(p["parameter_name"] for p in endpoints[name]["parameters"])
