"""PSNR, SSIM, VGG and identity distance on real faces."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gfr.degradation import Degradation, degrade
from gfr.errors import InputError
from gfr.images import load_image, to_image, to_tensor
from gfr.metrics import psnr, ssim
from training.bench import Bench
from training.identity import (
    CHIP_POINTS,
    FFHQ_POINTS,
    Recogniser,
    fit_similarity,
    identity_chip,
    identity_distance,
)
from training.judge import RECOGNISER_FILE, VGG_FILE
from training.perceptual import VGGFeatures, vgg_distance

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
LEVELS = (Degradation(1, 2, 4, 60), Degradation(2, 4, 8, 50), Degradation(3.5, 8, 12, 40))


def centre(images: Tensor) -> Tensor:
    """The middle of the faces only: a quarter of the work."""
    return images[..., 64:192, 64:192]


@pytest.fixture(scope="module")
def degraded(faces: Tensor) -> list[Tensor]:
    """The three faces, mildly, moderately and severely degraded."""
    return [torch.cat([to_tensor(degrade(to_image(f), d)) for f in faces]) for d in LEVELS]


@pytest.fixture(scope="module")
def vgg(models: Path) -> VGGFeatures:
    return VGGFeatures(models / VGG_FILE)


@pytest.fixture(scope="module")
def recogniser(models: Path) -> Recogniser:
    return Recogniser(models / RECOGNISER_FILE)


def test_psnr_of_a_known_difference(faces: Tensor):
    shifted = faces * 0.8 + 0.1
    mse = (0.1 - 0.2 * faces).square().mean((1, 2, 3))
    assert psnr(shifted, faces) == pytest.approx((10 * (1 / mse).log10()).tolist(), abs=1e-3)
    flat = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(flat + 0.1, flat).item() == pytest.approx(20.0, abs=1e-4)
    assert math.isinf(psnr(flat, flat).item())


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of two H×W channels, window by window, in float64."""
    t = np.arange(11) - 5
    window = np.exp(-(t[:, None] ** 2 + t[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            top = (2 * mp * mq + 0.01**2) * (2 * cov + 0.03**2)
            values.append(top / ((mp**2 + mq**2 + 0.01**2) * (vp + vq + 0.03**2)))
    return float(np.mean(values))


def test_ssim_agrees_with_a_slow_reference(faces: Tensor, degraded: list[Tensor]):
    a, b = faces[:1, :, 90:126, 90:130], degraded[1][:1, :, 90:126, 90:130]
    pairs = zip(a[0].double().numpy(), b[0].double().numpy(), strict=True)
    reference = np.mean([slow_ssim(p, q) for p, q in pairs])
    assert ssim(a, b).item() == pytest.approx(reference, abs=1e-4)
    assert 0.1 < reference < 0.99


def test_ssim_of_equal_images_is_one(faces: Tensor):
    assert ssim(faces, faces).tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_all_metrics_worsen_with_degradation(
    faces: Tensor, degraded: list[Tensor], vgg: VGGFeatures
):
    with torch.inference_mode():
        for metric, sign in ((psnr, -1), (ssim, -1), (vgg.distance, 1)):
            values = torch.stack([metric(centre(d), centre(faces)) for d in degraded]) * sign
            assert (values.diff(dim=0) > 0).all(), metric


def test_metrics_refuse_different_shapes(faces: Tensor):
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match="one shape"):
            metric(faces, faces[:, :, :128])
    with pytest.raises(ValueError, match="11 pixels"):
        ssim(faces[..., :8, :8], faces[..., :8, :8])


def test_vgg_distance_is_zero_on_equal_images_and_bounded(
    faces: Tensor, degraded: list[Tensor], vgg: VGGFeatures
):
    with torch.inference_mode():
        assert vgg.distance(centre(faces), centre(faces)).abs().max() < 1e-5
        distance = vgg.distance(centre(degraded[2]), centre(faces))
    assert distance.shape == (3,)
    assert ((distance > 0.05) & (distance < 6)).all()


def test_vgg_distance_agrees_with_its_definition(
    faces: Tensor, degraded: list[Tensor], vgg: VGGFeatures
):
    a, b = vgg(degraded[1][:1, :, 64:128, 64:128]), vgg(faces[:1, :, 64:128, 64:128])
    expected = 0.0
    for x, y in zip(a, b, strict=True):
        unit = torch.nn.functional.normalize
        expected += (unit(x, dim=1) - unit(y, dim=1)).square().sum(1).mean().item()
    assert vgg_distance(a, b).item() == pytest.approx(expected, rel=1e-3)


def test_vgg_distance_in_bfloat16_stays_close(
    faces: Tensor, degraded: list[Tensor], vgg: VGGFeatures
):
    a, b = centre(degraded[1][:1]), centre(faces[:1])
    with torch.inference_mode():
        exact = vgg.distance(a, b)
        with torch.autocast("cpu", torch.bfloat16):
            fast = vgg.distance(a, b)
    assert fast.dtype == torch.float32
    assert fast.item() == pytest.approx(exact.item(), rel=0.02)


def test_vgg_distance_sees_only_what_the_weight_selects(
    faces: Tensor, degraded: list[Tensor], vgg: VGGFeatures
):
    mixed = faces[:1].clone()
    mixed[..., 128:] = degraded[2][:1, ..., 128:]
    right, left = torch.zeros(2, 1, 1, 256, 256)
    right[..., 160:], left[..., :96] = 1, 1
    with torch.inference_mode():
        a, b = vgg(mixed), vgg(faces[:1])
        assert vgg_distance(a, b, left).item() < 1e-4
        assert vgg_distance(a, b, right) > vgg_distance(a, b) > 0.01
        assert vgg_distance(a, b, torch.zeros_like(left)).item() == 0


def test_following_the_vgg_gradient_brings_images_closer(
    faces: Tensor, degraded: list[Tensor], vgg: VGGFeatures
):
    image = degraded[1][:1, :, 96:160, 96:160].clone().requires_grad_()
    with torch.no_grad():
        target = vgg(faces[:1, :, 96:160, 96:160])
    before = vgg_distance(vgg(image), target)
    (gradient,) = torch.autograd.grad(before.sum(), image)
    assert gradient.isfinite().all()
    with torch.no_grad():
        after = vgg_distance(vgg(image - 0.01 * gradient.sign()), target)
    assert after.item() < before.item()


def test_vgg_says_what_is_wrong_with_its_file(tmp_path: Path):
    with pytest.raises(InputError, match="no VGG16 weights at"):
        VGGFeatures(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not a network")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        VGGFeatures(tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match="relu1_2"):
        VGGFeatures(None, layers=("relu9_9",))


def test_a_similarity_is_recovered():
    c, s = 0.8 * math.cos(0.3), 0.8 * math.sin(0.3)
    matrix = np.array([[c, -s, 5.0], [s, c, -3.0]])
    points = np.array([[0.0, 1.0], [4.0, 2.0], [3.0, 9.0]])
    assert fit_similarity(points, points @ matrix[:, :2].T + matrix[:, 2]) == pytest.approx(matrix)


def test_the_chip_has_the_five_points_in_place():
    for (fx, fy), (cx, cy) in zip(FFHQ_POINTS, CHIP_POINTS, strict=True):
        y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
        blob = torch.exp(-((x - fx) ** 2 + (y - fy) ** 2) / 18).expand(1, 3, 256, 256)
        chip = identity_chip(blob)[0, 0]
        peak = divmod(chip.argmax().item(), 150)
        assert chip.shape == (150, 150)
        assert peak[1] == pytest.approx(cx, abs=2)
        assert peak[0] == pytest.approx(cy, abs=2)


def test_the_chip_does_not_depend_on_resolution(faces: Tensor):
    large = torch.nn.functional.interpolate(faces, scale_factor=2, mode="bilinear")
    assert (identity_chip(large) - identity_chip(faces)).abs().mean() < 0.01
    with pytest.raises(ValueError, match="N×3×S×S"):
        identity_chip(faces[..., :128])


def test_identity_distance_lets_gradients_through(faces: Tensor, recogniser: Recogniser):
    image = faces[:2].clone().requires_grad_()
    distance = recogniser.distance(image, faces[1:3])
    assert distance.shape == (2,)
    (gradient,) = torch.autograd.grad(distance.sum(), image)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    # Equal images: no distance, and no infinite gradient of the root.
    (gradient,) = torch.autograd.grad(recogniser.distance(image, faces[:2]).sum(), image)
    assert gradient.isfinite().all()


def test_a_recogniser_must_be_torchscript(tmp_path: Path):
    with pytest.raises(InputError, match="no recogniser"):
        Recogniser(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("not a network")
    with pytest.raises(InputError, match="not a TorchScript file"):
        Recogniser(tmp_path / "text.pt")


def test_the_same_person_is_nearer_than_a_stranger(
    crops: list[tuple[Path, Path]], models: Path, recogniser: Recogniser
):
    if models != SHARED / "models":
        pytest.skip("needs a real recogniser: ../shared/models is not there")
    with torch.inference_mode():
        photos, guides = (
            recogniser(torch.cat([to_tensor(load_image(pair[i])) for pair in crops]))
            for i in (0, 1)
        )
    same = identity_distance(photos, guides)
    strangers = identity_distance(photos, guides.roll(1, 0))
    assert (same < strangers).all()
    assert same.mean() < 0.5


def test_the_bench_measures_as_it_is_known_to(recogniser: Recogniser, vgg: VGGFeatures):
    if not (SHARED / "bench").is_dir():
        pytest.skip("needs the bench: ../shared/bench is not there")
    bench = Bench.load(SHARED / "bench")
    with torch.inference_mode():
        e = {kind: recogniser(images) for kind, images in bench.images.items()}
    mean = {kind: identity_distance(e[kind], e["gt"]).mean().item() for kind in e}
    assert mean["guide"] == pytest.approx(0.41, abs=0.03)
    assert 0.6 < mean["wrong"] < 0.95
    assert mean["mild"] < mean["guide"] < mean["moderate"] < mean["severe"] < mean["wrong"]
    few = bench.spread(2)
    with torch.inference_mode():
        distance = vgg.distance(few.images["moderate"], few.images["gt"]).mean().item()
    assert distance == pytest.approx(1.6, abs=0.25)
