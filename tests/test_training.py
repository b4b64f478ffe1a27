"""The trainer on real faces: crops made from the example photos, whose mesh is measured anew."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import collate, make_trainer

from gfr.model import CONFIGS
from gfr.warpnet import identity_grid, warp
from gfr.weights import load_model
from training.config import TrainConfig, load_config
from training.data import NONE, WRONG, DataConfig, FaceStore, PairDataset, warped_copy
from training.log import Log
from training.losses import (
    cut,
    face_corners,
    gradient_loss,
    landmark_loss,
    mse_loss,
    reconstruction_loss,
    total_variation_loss,
)
from training.meshflow import feature_weights, mesh_flow
from training.mirror import MIRROR
from training.objective import prepare_batch
from training.sampler import Upward
from training.schedule import learning_rate
from training.train import main

CONFIG_FILES = sorted((Path(__file__).parent.parent / "training" / "configs").glob("*.toml"))


def points_of(store, i):
    return store.points[i] - 16


# Data


def test_the_store_knows_who_is_who(store):
    assert store.images.shape == (12, 288, 288, 3)
    assert sorted(map(len, store.members.values())) == [2] * 6
    assert len(store.paired) == 12


def test_singles_are_people_of_their_own(crop_folder, tmp_path):
    singles = tmp_path / "_singles_x"
    singles.mkdir()
    for file in sorted(crop_folder.glob("person0/*")):
        (singles / file.name).write_bytes(file.read_bytes())
    store = FaceStore.open([tmp_path], tmp_path / "cache")
    assert len(store.members) == 2 and len(store.paired) == 0


def test_a_folder_without_crops_says_how_to_make_some(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.prepare"):
        FaceStore.open([tmp_path], tmp_path / "cache")


def test_a_sample_depends_on_seed_and_index_alone(store):
    first, again = (PairDataset(store, DataConfig(size=64), seed=3)[7] for _ in range(2))
    other = PairDataset(store, DataConfig(size=64), seed=4)[7]
    for name in first:
        assert torch.equal(first[name], again[name]), name
    assert not torch.equal(first["degraded"], other["degraded"])


def test_samples_are_what_the_config_asks_for(store):
    config = DataConfig(size=64, wrong_share=0.3, none_share=0.3)
    samples = [PairDataset(store, config)[i] for i in range(60)]
    kinds = [int(s["kind"]) for s in samples]
    assert all(8 < kinds.count(k) < 36 for k in range(3))
    for sample in samples:
        assert sample["truth"].shape == (3, 64, 64) and sample["truth"].dtype == torch.uint8
        assert sample["points"].abs().max() < 1.3
        assert sample["weight"].mean() == pytest.approx(1, abs=1e-3)
        if sample["kind"] == NONE:
            assert torch.equal(sample["guide"], sample["degraded"])
        else:
            assert not torch.equal(sample["guide"], sample["degraded"])


def test_a_right_guide_shows_the_same_person_and_a_wrong_one_another(store):
    dataset = PairDataset(store, DataConfig(real_share=1.0))
    rng = np.random.default_rng(0)
    for _ in range(50):
        i, j = dataset._pick(rng, kind=0)
        assert i != j and store.person[i] == store.person[j]
        i, j = dataset._pick(rng, kind=WRONG)
        assert store.person[i] != store.person[j]


def test_a_warped_copy_takes_its_points_along(store, finder):
    """Measured by finding the face anew in the bent picture."""
    image, points = np.array(store.images[0]), store.points[0]
    bent, moved = warped_copy(np.random.default_rng(5), image, points)
    measured = finder.find(bent)[0].landmarks[:468]
    before, after = (np.abs(measured - p).mean() for p in (points, moved))
    assert before > 2 and after < 0.6 * before


def test_the_mirrored_mesh_is_the_mesh_of_the_mirrored_picture(store, finder):
    image, points = np.array(store.images[0]), store.points[0]
    measured = finder.find(np.ascontiguousarray(image[:, ::-1]))[0].landmarks[:468]
    mirrored = np.stack([287 - points[:, 0], points[:, 1]], 1)[MIRROR]
    assert np.abs(measured - mirrored).mean() < 2
    assert (MIRROR[MIRROR] == np.arange(468)).all()


# The flow between two meshes


def test_the_mesh_flow_takes_points_to_the_guides_points(store):
    points, guide_points = points_of(store, 0), points_of(store, 1)
    flow = torch.from_numpy(mesh_flow(points, guide_points, side=64))[None]
    unit = [torch.from_numpy(p / 127.5 - 1)[None].float() for p in (points, guide_points)]
    still = landmark_loss(identity_grid(64, 64), *unit)
    assert landmark_loss(flow, *unit) < 0.25 * still


def test_the_mesh_flow_brings_the_guide_closer_to_the_photo(store):
    """In the picture, not only in the points: inside the face the warped guide fits better."""
    photo, guide = (
        torch.from_numpy(store.images[i, 16:-16, 16:-16].copy()).permute(2, 0, 1)[None] / 255
        for i in (0, 1)
    )
    flow = torch.from_numpy(mesh_flow(points_of(store, 0), points_of(store, 1)))[None]
    face = torch.from_numpy(feature_weights(points_of(store, 0), 256))[None]
    face = (face > 1.1 * face.min()).float()

    def misfit(image):
        return ((image - photo).abs() * face).sum() / face.sum()

    assert misfit(warp(guide, flow)) < misfit(guide)


# Losses


def test_a_perfect_flow_has_no_landmark_loss():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 468, 2, generator=generator) * 1.6 - 0.8
    shift = torch.tensor([0.1, -0.04])
    flow = identity_grid(64, 64) + shift[None, :, None, None]
    flow = flow.expand(2, -1, -1, -1)
    assert landmark_loss(flow, points, points + shift) < 1e-5
    still = landmark_loss(identity_grid(64, 64).expand(2, -1, -1, -1), points, points + shift)
    assert still == pytest.approx(0.14, abs=1e-4)


def test_points_outside_the_picture_do_not_count():
    points = torch.tensor([[[0.0, 0.0], [1.5, 0.0]]])
    loss = landmark_loss(identity_grid(8, 8), points, points + torch.tensor([0.1, 0.0]))
    assert loss == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("size", [32, 128])
def test_total_variation_is_that_of_the_slope_at_any_resolution(size):
    assert total_variation_loss(identity_grid(size, size)) < 1e-8
    stretched = identity_grid(size, size) * 1.2
    assert total_variation_loss(stretched) == pytest.approx(0.04, rel=0.1)


def test_image_losses_are_zero_for_the_truth_and_grow_with_the_error(faces):
    weight = torch.ones(3, 1, 64, 64)
    noisy = faces + 0.1 * torch.randn(faces.shape, generator=torch.Generator().manual_seed(0))
    for loss in (reconstruction_loss, gradient_loss):
        exact, near, far = (
            loss(x, faces, weight) for x in (faces, torch.lerp(faces, noisy, 0.3), noisy)
        )
        assert exact < 0.004 < near < far


def test_the_squared_loss_is_on_the_papers_scale(faces):
    """Images in [-1, 1], where an error of 0.1 is one of 0.2."""
    assert mse_loss(faces + 0.1, faces) == pytest.approx(0.04, rel=1e-3)


def test_the_weight_says_where_an_error_hurts(faces):
    weight = torch.zeros(3, 1, 64, 64)
    weight[..., :32] = 2
    left, right = faces.clone(), faces.clone()
    left[..., :120] += 0.1
    right[..., 136:] += 0.1
    assert reconstruction_loss(left, faces, weight) > 10 * reconstruction_loss(right, faces, weight)


def test_crops_lie_inside_and_on_the_face(faces):
    points = torch.rand(3, 468, 2) * 0.6 - 0.3
    for seed in range(20):
        corners = face_corners(points, 256, 96, torch.Generator().manual_seed(seed))
        assert cut(faces, corners, 96).shape == (3, 3, 96, 96)
        for x, y in corners:
            assert 30 <= x <= 130 and 30 <= y <= 130


# The trainer


@pytest.mark.parametrize(
    ("part", "lr", "terms"),
    [
        ("warpnet", 4e-4, ("landmark", "flow")),
        ("recnet", 5e-5, ("reconstruction", "gradient")),  # starts at the input: small steps only
    ],
)
def test_a_few_steps_on_one_batch_lower_every_term(store, joint_config, part, lr, terms):
    data = dataclasses.replace(joint_config.data, null_share=1.0)
    config = dataclasses.replace(joint_config, train=(part,), flow="mesh", lr=lr, data=data)
    trainer = make_trainer(config)
    batch = collate(PairDataset(store, config.data), range(4))
    log = [trainer.train_step(batch, progress=0) for _ in range(25)]
    for term in terms:
        assert log[-1][term] < 0.97 * log[0][term], term


def test_a_resumed_run_is_the_run_that_was_not_stopped(store, joint_config, tmp_path):
    dataset = PairDataset(store, joint_config.data)
    batches = [collate(dataset, range(4 * i, 4 * i + 4)) for i in range(4)]
    straight = make_trainer(joint_config)
    for batch in batches:
        straight.train_step(batch, 0.1)
    first = make_trainer(joint_config)
    for batch in batches[:2]:
        first.train_step(batch, 0.1)
    first.save(tmp_path)
    second = make_trainer(joint_config)
    second.resume(tmp_path)
    assert second.step == 2
    for batch in batches[2:]:
        second.train_step(batch, 0.1)
    for kind in ("model", "ema"):
        a, b = getattr(straight, kind).state_dict(), getattr(second, kind).state_dict()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_a_run_of_other_networks_cannot_be_resumed(joint_config, tmp_path):
    make_trainer(dataclasses.replace(joint_config, train=("recnet",))).save(tmp_path)
    with pytest.raises(ValueError, match="other networks"):
        make_trainer(joint_config).resume(tmp_path)


@pytest.mark.parametrize(("part", "other"), [("warpnet", "recnet"), ("recnet", "warpnet")])
def test_a_stage_changes_only_what_it_trains(store, joint_config, part, other):
    config = dataclasses.replace(joint_config, train=(part,), flow="mesh")
    trainer = make_trainer(config)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    batch = collate(PairDataset(store, config.data), range(4))
    for _ in range(2):
        trainer.train_step(batch, 0)
    changed = {
        k.split(".")[0] for k, v in trainer.model.state_dict().items() if (v != before[k]).any()
    }
    assert part in changed and other not in changed


def test_the_learning_rate_warms_up_and_anneals():
    config = TrainConfig(lr=1.0, lr_final=0.01, warmup=10)
    assert learning_rate(config, 0, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50, 0) == pytest.approx(1)
    assert learning_rate(config, 50, 0.5) == pytest.approx(0.505)
    assert learning_rate(config, 50, 1) == pytest.approx(0.01)


def test_a_resumed_sampler_goes_on_where_the_batches_ended():
    straight, resumed = iter(Upward(0, 3)), iter(Upward(2, 3))
    assert [next(straight) for _ in range(9)][6:] == [next(resumed) for _ in range(3)] == [6, 7, 8]


def test_a_resumed_log_forgets_the_steps_to_be_taken_again(tmp_path):
    path = tmp_path / "log.csv"
    log = Log(path, every=2)
    for step in range(1, 7):
        log.add({"total": float(step)}, step, minutes=0)
    again = Log(path, step=5, every=2)
    again.add({"total": 9.0}, 6, minutes=0)
    again.write(6, minutes=0)
    with path.open() as file:
        rows = [(int(row["step"]), float(row["total"])) for row in csv.DictReader(file)]
    assert rows == [(2, 1.5), (4, 3.5), (6, 9.0)]


def test_images_become_floats_once(store):
    batch = collate(PairDataset(store, DataConfig(size=64)), range(2))
    ready = prepare_batch(batch, torch.device("cpu"))
    assert ready["truth"].dtype == torch.float32 and ready["truth"].max() <= 1
    assert ready["kind"].dtype == torch.int64


def write_config(path: Path, text: str = "") -> Path:
    path.write_text(
        'model = "compact"\nbatch = 2\nsteps = 3\nwarmup = 1\n' + text + "\n[data]\nsize = 64\n"
        "[loss]\nlandmark = 1.0\ntv = 0.02\nreconstruction = 1.0\n"
    )
    return path


def test_the_command_trains_exports_and_resumes(crop_folder, tmp_path):
    config, out = write_config(tmp_path / "c.toml"), tmp_path / "run"
    command = ["--config", str(config), "--data", str(crop_folder), "--out", str(out)]
    command += ["--cache", str(tmp_path / "cache"), "--workers", "0", "--device", "cpu"]
    assert main(command) == 0
    assert load_model(out / "weights.safetensors").config == CONFIGS["compact"]
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 3
    config.write_text(config.read_text().replace("steps = 3", "steps = 5"))
    assert main(command) == 2  # a run is there: nothing is overwritten unasked
    assert main([*command, "--resume"]) == 0
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 5
    assert sorted(p.name for p in out.iterdir()) == [
        "checkpoint.pt",
        "log.csv",
        "weights.safetensors",
    ]
    with (out / "log.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)][-1] == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = 3", "unknown colour"),
        ('train = ["gan"]', "train must name"),
        ('flow = "none"', "flow must be"),
        ("batch = ", "Cannot read"),
    ],
)
def test_a_bad_config_ends_with_one_sentence(tmp_path, capsys, text, sentence):
    config = write_config(tmp_path / "c.toml", text)
    assert main(["--config", str(config), "--data", ".", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('model = "huge"', "model must be"),
        ('[data]\npreset = "light"', "preset must be"),
        ("[data]\nreal_share = 1.5", "every share"),
        ("[data]\nwrong_share = 0.6\nnone_share = 0.6", "add up"),
    ],
)
def test_a_config_that_no_run_could_use_is_refused_when_read(tmp_path, text, sentence):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        load_config(path)


def test_a_log_with_other_columns_is_set_aside(tmp_path):
    Log(tmp_path / "log.csv", every=1).add({"total": 1.0}, 1, 0)
    Log(tmp_path / "log.csv", 1, every=1).add({"total": 1.0, "identity": 0.5}, 2, 0)
    assert (tmp_path / "log-until-1.csv").read_text().startswith("step,minutes,total\n1,")
    assert (tmp_path / "log.csv").read_text().startswith("step,minutes,total,identity\n2,")


@pytest.mark.parametrize("path", CONFIG_FILES, ids=lambda p: p.stem)
def test_every_shipped_config_is_readable(path):
    config = load_config(path)
    assert config.model in CONFIGS and config.batch > 0
