"""The paper's two stages as shipped, in real steps: 177 M parameters at 256×256."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import ROOT, collate

from gfr.model import CONFIGS, GFRNet
from training.config import TrainConfig, load_config
from training.data import PairDataset
from training.objective import Objective
from training.trainer import Trainer


def stage(name: str) -> TrainConfig:
    """The shipped file, at the smallest batch that batch norm at 1×1 allows."""
    config = load_config(ROOT / "training" / "configs" / f"{name}.toml")
    return dataclasses.replace(config, batch=2)


def test_the_papers_weights_and_rates():
    warp, joint = stage("paper-warp"), stage("paper")
    for config in (warp, joint):
        assert (config.lr, config.lr_final) == (2e-4, 2e-6)
        assert config.loss.landmark == 10
        # The paper's weight is 1, for differences of neighbours; ours are slopes, 256 / 2 as large.
        assert config.loss.tv == pytest.approx((2 / 256) ** 2, rel=0.01)
        assert config.data.preset == "paper" and config.data.size == 256
    assert warp.train == ("warpnet",) and joint.train == ("warpnet", "recnet")
    loss = joint.loss
    assert (loss.mse, loss.perceptual, loss.global_gan, loss.local_gan) == (100, 0.001, 1, 0.5)
    assert (loss.reconstruction, loss.patch_global_gan, loss.patch_local_gan) == (0, 0, 0)


@pytest.mark.parametrize("name", ["paper-warp", "paper"])
def test_a_stage_of_the_paper_takes_a_real_step(store, models, name):
    config = stage(name)
    torch.manual_seed(0)
    model = GFRNet(CONFIGS["paper"])
    trainer = Trainer(config, model, Objective(config, models), torch.device("cpu"))
    before = {k: v.clone() for k, v in model.state_dict().items() if v.numel() < 4096}
    batch = collate(PairDataset(store, config.data), range(config.batch))
    first, second = (trainer.train_step(batch, 0) for _ in range(2))
    terms = {"landmark", "tv"}
    if name == "paper":
        terms |= {"mse", "perceptual", "global_gan", "local_gan"}
        assert second["mse"] < first["mse"]
    assert terms <= first.keys()
    assert second["total"] < first["total"]
    moved = {
        k.split(".")[0]
        for k, v in model.state_dict().items()
        if k in before and (v != before[k]).any()
    }
    assert moved == set(config.train)
