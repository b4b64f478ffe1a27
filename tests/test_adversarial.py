"""The discriminators and the adversarial game, on real faces."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_same_state, collate, make_trainer

from training.adversarial import (
    GAN_TERMS,
    Adversary,
    Scene,
    active_terms,
    discriminator_loss,
    face_region,
    generator_loss,
)
from training.config import LossConfig, TrainConfig
from training.data import DataConfig, PairDataset
from training.discriminators import DISCRIMINATORS, PatchDiscriminator, WholeDiscriminator

ALL = dict.fromkeys(GAN_TERMS, 0.1)


@pytest.fixture(scope="session")
def gan_config(joint_config):
    loss = dataclasses.replace(joint_config.loss, **ALL)
    return dataclasses.replace(joint_config, loss=loss)


@pytest.fixture
def batches(store, gan_config):
    dataset = PairDataset(store, gan_config.data)
    return [collate(dataset, range(4 * i, 4 * i + 4)) for i in range(3)]


# Losses


def test_each_side_pays_for_what_the_other_wants():
    sure, unsure = torch.full((4, 1), 5.0), torch.zeros(4, 1)
    assert generator_loss(sure) < 0.01 < generator_loss(unsure) < generator_loss(-sure)
    assert discriminator_loss(sure, -sure) < 0.02
    assert discriminator_loss(unsure, unsure) == pytest.approx(2 * 0.6931, abs=1e-3)
    assert discriminator_loss(-sure, sure) > 9


def test_the_network_is_never_left_without_a_slope():
    """Non-saturating: a result that fools nobody is pulled hardest, and with a bounded force."""
    logits = torch.tensor([-50.0, -5.0, 0.0, 5.0], requires_grad=True)
    generator_loss(logits).backward()
    slope = -4 * logits.grad
    assert slope[0] == pytest.approx(1) and (slope.diff() < 0).all() and slope[3] > 0


# What they look at


def test_the_face_region_is_the_square_around_the_mesh(faces):
    points = torch.tensor([[[-0.5, -0.3], [0.1, 0.3]]]).expand(3, -1, -1)
    region = face_region(faces, points)
    assert region.shape == (3, 3, 128, 128)
    # centre (-0.2, 0), half a side 0.33: in pixels of 0…255
    x, y, half = 0.8 * 127.5, 127.5, 0.33 * 127.5
    window = faces[
        ..., round(y - half) : round(y + half) + 1, round(x - half) : round(x + half) + 1
    ]
    expected = F.interpolate(window, (128, 128), mode="bilinear", align_corners=True)
    assert (region - expected).abs().mean() < 0.01
    assert (region - faces[..., 64:192, 64:192]).abs().mean() > 0.05


def test_the_network_learns_from_the_face_region(faces):
    image = faces.clone().requires_grad_()
    points = torch.tensor([[[-0.4, -0.4], [0.4, 0.4]]]).expand(3, -1, -1)
    face_region(image, points).sum().backward()
    assert image.grad[..., 128, 128].abs().min() > 0
    assert image.grad[..., :40, :].abs().max() == 0


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_the_patch_form_judges_70_pixel_patches_and_the_whole_form_the_picture(name):
    widths = DISCRIMINATORS[name]
    picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    picture.requires_grad_()
    torch.manual_seed(0)
    patch, whole = PatchDiscriminator(3, widths.patch), WholeDiscriminator(3, widths.whole)
    logits = patch(picture)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    touched = picture.grad[0].abs().sum(0) > 0
    assert touched.any(0).sum() == touched.any(1).sum() == 70
    picture.grad = None
    verdict = whole(picture)
    assert verdict.shape == (1, 1)
    verdict.sum().backward()
    assert (picture.grad[0].abs().sum(0) > 0).float().mean() > 0.95


@pytest.mark.parametrize("term", GAN_TERMS)
def test_every_discriminator_learns_to_tell_soft_faces_from_sharp_ones(store, term):
    batch = collate(PairDataset(store, DataConfig(size=64, real_share=1.0)), range(6))
    truth, guide = batch["truth"].float() / 255, batch["guide"].float() / 255
    soft = F.interpolate(F.avg_pool2d(truth, 4), (64, 64), mode="bilinear")
    scene = Scene(guide, guide, batch["points"])
    torch.manual_seed(0)
    adversary = Adversary(TrainConfig(loss=LossConfig(**{term: 1.0})))
    assert list(adversary.judges) == [term]
    optimizer = torch.optim.Adam(adversary.parameters(), 5e-4, betas=(0.5, 0.99))
    for _ in range(150):
        loss = adversary.discriminator_terms(soft, truth, scene)[f"{term}_rival"]
        if loss < 0.9:  # 1.39 is guessing
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    else:
        pytest.fail(f"after 150 steps the loss is still {loss:.2f}")
    caught = adversary.generator_terms(soft, scene)[term].item()
    passed = adversary.generator_terms(truth, scene)[term].item()
    assert caught > passed + 0.3


# The game


def test_weight_0_builds_nothing(gan_config, joint_config):
    assert make_trainer(joint_config).objective.adversary is None
    assert "rival" not in make_trainer(joint_config).state_dict()
    one = dataclasses.replace(joint_config.loss, patch_local_gan=0.1)
    config = dataclasses.replace(joint_config, loss=one)
    assert list(make_trainer(config).objective.adversary.judges) == ["patch_local_gan"]
    assert active_terms(dataclasses.replace(gan_config, train=("warpnet",))) == []


def test_each_side_is_moved_by_its_own_loss_alone(gan_config, batches):
    """The network's step leaves the discriminators; theirs leaves the network."""
    trainer = make_trainer(gan_config)
    adversary = trainer.objective.adversary
    judges = {k: v.clone() for k, v in adversary.state_dict().items()}
    rival, trainer.rival = trainer.rival, None
    log = trainer.train_step(batches[0], 0)
    assert set(GAN_TERMS) <= log.keys()
    assert_same_state(adversary.state_dict(), judges)
    trainer.rival = rival
    learner = trainer.learner.update
    trainer.learner.update = lambda loss, rate: 0.0
    network = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    log = trainer.train_step(batches[1], 0)
    assert all(log[f"{term}_rival"] > 0 for term in GAN_TERMS)
    assert_same_state(trainer.model.state_dict(), network)
    changed = [k for k, v in adversary.state_dict().items() if (v != judges[k]).any()]
    assert {k.split(".")[1] for k in changed} == set(GAN_TERMS)
    trainer.learner.update = learner


def test_a_resumed_game_is_the_game_that_was_not_stopped(gan_config, batches, tmp_path):
    straight = make_trainer(gan_config)
    for i, batch in enumerate(batches):
        straight.train_step(batch, 0.1)
        if i == 0:
            straight.save(tmp_path)
    resumed = make_trainer(gan_config)
    resumed.resume(tmp_path)
    for batch in batches[1:]:
        resumed.train_step(batch, 0.1)
    assert_same_state(straight.model.state_dict(), resumed.model.state_dict(), 1e-4, 1e-6)
    judges = (t.objective.adversary.state_dict() for t in (straight, resumed))
    assert_same_state(*judges, 1e-4, 1e-6)


def test_adversarial_terms_cannot_appear_or_vanish_in_the_middle_of_a_run(
    gan_config, joint_config, tmp_path
):
    for kind, config, other in (("a", gan_config, joint_config), ("b", joint_config, gan_config)):
        (tmp_path / kind).mkdir()
        make_trainer(config).save(tmp_path / kind)
        with pytest.raises(ValueError, match="adversarial"):
            make_trainer(other).resume(tmp_path / kind)
