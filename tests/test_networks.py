import pytest
import torch
import torch.nn.functional as F

from gfr.meshnet import mesh_flow
from gfr.model import CONFIGS, GFRNet, GFRNetConfig
from gfr.recnet import RecNetConfig
from gfr.warpnet import identity_grid, resize_flow, warp


def pixels_to_unit(value, size):
    return 2 * value / (size - 1) - 1


def test_the_identity_grid_moves_nothing(faces):
    out = warp(faces, identity_grid(256, 256).expand(len(faces), -1, -1, -1))
    torch.testing.assert_close(out, faces, atol=2e-5, rtol=0)


def test_flow_is_an_absolute_grid_with_x_first():
    """A guide landmark at (20, 10) that belongs at (22, 14) means Φ(22, 14) = (20, 10)."""
    guide = torch.zeros(1, 1, 32, 48)
    guide[0, 0, 10, 20] = 1
    flow = identity_grid(32, 48)
    flow[0, 0, 14, 22] = pixels_to_unit(20, 48)
    flow[0, 1, 14, 22] = pixels_to_unit(10, 32)
    warped = warp(guide, flow)
    assert warped[0, 0, 14, 22] == pytest.approx(1, abs=1e-4)
    assert warped[0, 0, 10, 20] == pytest.approx(1, abs=1e-4)  # elsewhere Φ is identity


def test_a_resized_flow_means_the_same_movement(faces):
    shifted = identity_grid(64, 64) + torch.tensor([0.1, -0.05])[None, :, None, None]
    large = identity_grid(256, 256) + torch.tensor([0.1, -0.05])[None, :, None, None]
    torch.testing.assert_close(resize_flow(shifted, 256, 256), large, atol=1e-5, rtol=0)
    out = warp(faces[:1], shifted)
    torch.testing.assert_close(out, warp(faces[:1], large), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_shapes_and_ranges(name, faces):
    torch.manual_seed(0)
    model = GFRNet(CONFIGS[name]).eval()
    with torch.inference_mode():
        out = model(faces[:1], faces[1:2])
    assert out.restored.shape == out.warped.shape == (1, 3, 256, 256)
    assert out.flow.shape == (1, 2, 256, 256)
    assert out.flow.abs().max() <= 1.5
    assert out.restored.min() >= 0 and out.restored.max() <= 1


def test_parameter_counts_are_those_of_the_design():
    def millions(module):
        return sum(p.numel() for p in module.parameters()) / 1e6

    with torch.device("meta"):
        paper, compact = GFRNet(CONFIGS["paper"]), GFRNet(CONFIGS["compact"])
    assert millions(paper.warpnet) == pytest.approx(123, abs=3)
    assert millions(paper.recnet) == pytest.approx(54, abs=1)
    assert millions(compact) < 15


def test_an_untrained_compact_network_is_no_warp_and_no_change(faces):
    model = GFRNet(CONFIGS["compact"]).eval()
    with torch.inference_mode():
        out = model(faces[:1], faces[1:2])
    torch.testing.assert_close(out.flow, identity_grid(256, 256), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.restored, faces[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_one_training_step_reaches_every_parameter(name, faces):
    """At the second step: the zero-initialised outputs pass no gradient on at the first."""
    torch.manual_seed(0)
    model = GFRNet(CONFIGS[name])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        steps = model.warpnet.steps(faces[:2], faces[1:3])
        out = model.restore(faces[:2], faces[1:3], steps.flows[-1])
        loss = (out.restored - faces[1:3]).square().mean()
        loss = loss + sum(0.1 * x.square().mean() for x in (*steps.flows, *steps.meshes))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_flow_between_two_meshes_moves_each_point_where_it_belongs():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 468, 2, generator=generator) - 0.5
    flow = mesh_flow(points, points, side=64)
    torch.testing.assert_close(flow, identity_grid(64, 64).expand(2, -1, -1, -1))
    bent = points + 0.1 * torch.sin(3 * points)
    at = F.grid_sample(mesh_flow(points, bent, 64), points[:, :, None], align_corners=True)
    error = (at[..., 0].transpose(1, 2) - bent).abs().mean()
    assert error < 0.1 * (points - bent).abs().mean()


@pytest.fixture
def scrambled():
    """A compact network whose outputs are not the identity."""
    torch.manual_seed(1)
    model = GFRNet(CONFIGS["compact"]).eval()
    for parameter in model.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.01)
    return model


@torch.inference_mode()
def test_strength_runs_from_no_guide_to_the_whole_guide(scrambled, faces):
    degraded, guide = faces[:1], faces[1:2]
    full = scrambled(degraded, guide, 1.0).restored
    none = scrambled(degraded, None).restored
    half = scrambled(degraded, guide, 0.5).restored
    off = scrambled(degraded, guide, 0.0).restored
    torch.testing.assert_close(off, none, atol=1e-4, rtol=0)
    assert (full - none).abs().max() > 1e-3
    assert (half - none).abs().mean() < (full - none).abs().mean()


@torch.inference_mode()
def test_faces_in_a_batch_do_not_see_each_other(scrambled, faces):
    batch = scrambled(faces[:2], faces[1:3]).restored
    alone = scrambled(faces[:1], faces[1:2]).restored
    torch.testing.assert_close(batch[:1], alone, atol=1e-4, rtol=0)


def test_the_plain_recnet_is_selectable(faces):
    config = CONFIGS["compact"]
    plain = GFRNet(GFRNetConfig("plain", config.warpnet, RecNetConfig(guide_widths=()))).eval()
    assert plain.guide_encoder is None
    with torch.inference_mode():
        assert plain(faces[:1], faces[1:2]).restored.shape == (1, 3, 256, 256)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_survives_plain_data(name):
    import json

    config = CONFIGS[name]
    assert GFRNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_config_that_does_not_fit_is_refused():
    data = CONFIGS["compact"].to_dict()
    with pytest.raises(ValueError, match="kind"):
        GFRNetConfig.from_dict({**data, "recnet": {"kind": "huge"}})
    with pytest.raises(ValueError, match="depth"):
        GFRNetConfig.from_dict({**data, "recnet": {"depth": 3}})
