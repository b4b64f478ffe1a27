"""What many tests share: real photos, and a network to restore them with."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import vgg16

from gfr.degradation import Degradation, degrade
from gfr.faces import FaceFinder, align
from gfr.files import WEIGHTS_DIR
from gfr.images import load_image, save_image, to_tensor
from gfr.model import CONFIGS, GFRNet
from gfr.restorer import Restorer
from gfr.weights import DEFAULT_NAME, save_weights
from training.config import LossConfig, TrainConfig
from training.data import DataConfig, FaceStore, PairDataset
from training.judge import RECOGNISER_FILE, VGG_FILE
from training.objective import Objective
from training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # data and networks that development has beside the project
EXAMPLES = sorted((ROOT / "examples").glob("composite-*"))
BENCH_LEVELS = {
    "mild": Degradation(1, 2, 4, 60),
    "moderate": Degradation(2, 4, 8, 50),
    "severe": Degradation(3.5, 8, 12, 40),
}


@pytest.fixture(scope="session")
def people() -> list[tuple[Path, Path]]:
    """Photo and guide of each of the six composite people, 640×640."""
    assert len(EXAMPLES) == 6
    return [(folder / "photo.jpg", folder / "guide.jpg") for folder in EXAMPLES]


@pytest.fixture(scope="session")
def photo(people: list[tuple[Path, Path]]) -> Path:
    return people[0][0]


@pytest.fixture(scope="session")
def guide(people: list[tuple[Path, Path]]) -> Path:
    return people[0][1]


@pytest.fixture(scope="session")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="session")
def crops(
    people: list[tuple[Path, Path]], finder: FaceFinder, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Path, Path]]:
    """Photo and guide of each person as aligned 256×256 PNG files."""
    folder = tmp_path_factory.mktemp("crops")
    pairs = []
    for person, pair in enumerate(people):
        paths = []
        for kind, source in zip(("photo", "guide"), pair, strict=True):
            image = load_image(source)
            paths.append(folder / f"{person}-{kind}.png")
            save_image(paths[-1], align(image, finder.find(image)[0].landmarks).image)
        pairs.append((paths[0], paths[1]))
    return pairs


@pytest.fixture(scope="session")
def faces(crops: list[tuple[Path, Path]]) -> torch.Tensor:
    """Three aligned faces of three people, 3×3×256×256 in [0, 1]."""
    return torch.cat([to_tensor(load_image(photo)) for photo, _ in crops[:3]])


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights; where there are none yet, those of an untrained compact network."""
    shipped = WEIGHTS_DIR / DEFAULT_NAME
    if shipped.is_file():
        return shipped
    torch.manual_seed(0)
    model = GFRNet(CONFIGS["compact"])
    for parameter in model.parameters():
        if not parameter.any():  # the zeros that make an untrained network change nothing
            torch.nn.init.normal_(parameter, std=0.01)
    path = tmp_path_factory.mktemp("weights") / DEFAULT_NAME
    save_weights(path, model)
    return path


@pytest.fixture(scope="session")
def restorer(weights: Path) -> Restorer:
    return Restorer.load("cpu", weights, torch.float32)


@pytest.fixture(scope="session")
def page_url(restorer: Restorer) -> Iterator[str]:
    """The address of the web page, served from a thread of this process."""
    import app

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = app.build(restorer)
    yield app.launch(page, port, prevent_thread_lock=True, quiet=True)
    page.close(verbose=False)


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo without a face: a smooth gradient."""
    y, x = np.mgrid[0:300, 0:400]
    path = tmp_path_factory.mktemp("landscape") / "landscape.png"
    save_image(path, np.stack([x % 256, y % 256, (x + y) % 256], axis=2).astype(np.uint8))
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of measuring networks; where there is none, stand-ins with random weights."""
    if (SHARED / "models").is_dir():
        return SHARED / "models"
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    with torch.device("meta"):
        features = vgg16(weights=None, init_weights=False).features[:23]
    features = features.to_empty(device="cpu")
    for name, parameter in features.named_parameters():
        init = torch.nn.init.zeros_ if name.endswith("bias") else torch.nn.init.kaiming_normal_
        init(parameter)
    tensors = {f"features.{name}": t.half() for name, t in features.state_dict().items()}
    save_file(tensors, folder / VGG_FILE)
    layers = [torch.nn.AvgPool2d(15), torch.nn.Flatten(), torch.nn.Linear(300, 16)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, but what recognisers come in
        torch.jit.script(torch.nn.Sequential(*layers).half()).save(folder / RECOGNISER_FILE)
    return folder


@pytest.fixture(scope="session")
def bench_dir(
    crops: list[tuple[Path, Path]], finder: FaceFinder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two of the example people as a bench."""
    folder = tmp_path_factory.mktemp("small") / "bench"
    folder.mkdir()
    for i, (photo, guide) in enumerate(crops[:2]):
        truth, right = load_image(photo), load_image(guide)
        images = {"gt": truth, "guide": right, "wrong": load_image(crops[i + 1][1])}
        images |= {level: degrade(truth, d) for level, d in BENCH_LEVELS.items()}
        for kind, image in images.items():
            save_image(folder / f"c{i}_{kind}.webp", image)
        for suffix, image in (("lm", truth), ("guide_lm", right)):
            points = finder.find(image)[0].landmarks[:468]
            np.save(folder / f"c{i}_{suffix}.npy", points.astype(np.float16))
    return folder


@pytest.fixture(scope="session")
def crop_folder(
    crops: list[tuple[Path, Path]], finder: FaceFinder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Six people, two crops each, in the layout of ``training.prepare``."""
    root = tmp_path_factory.mktemp("crops288")
    for person, pair in enumerate(crops):
        for name, file in zip("ab", pair, strict=True):
            image = cv2.copyMakeBorder(load_image(file), *[16] * 4, cv2.BORDER_REFLECT_101)
            points = finder.find(image)[0].landmarks[:468]
            target = root / f"person{person}" / f"{name}.webp"
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(target, lossless=True)
            np.save(target.with_suffix(".npy"), points.astype(np.float16))
    return root


@pytest.fixture(scope="session")
def store(crop_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    return FaceStore.open([crop_folder], tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def joint_config() -> TrainConfig:
    """Both networks on small pictures, regression losses only."""
    loss = LossConfig(landmark=1.0, tv=0.02, flow=0.2, reconstruction=1.0, gradient=0.5)
    data = DataConfig(size=64, real_share=1.0)
    return TrainConfig(lr=4e-4, steps=100, batch=4, warmup=1, ema=0.5, data=data, loss=loss)


def collate(dataset: PairDataset, indices: Iterable[int]) -> dict[str, torch.Tensor]:
    """Those samples as one batch."""
    return torch.utils.data.default_collate([dataset[i] for i in indices])


def make_trainer(config: TrainConfig, models: Path = Path("no-such-folder")) -> Trainer:
    """A fresh run in float32 on the CPU, always from the same weights."""
    torch.manual_seed(0)
    model, objective = GFRNet(CONFIGS[config.model]), Objective(config, models)
    return Trainer(config, model, objective, torch.device("cpu"), torch.float32)


def assert_same_state(one: dict, other: dict, rtol: float = 0, atol: float = 0) -> None:
    """Two state dicts agree in every tensor."""
    assert one.keys() == other.keys() and one
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )
