"""Scores against closed forms, scikit-image, and the numbers that a paper published."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_pure.basicsr_import import load_basicsr
from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.photos import Crops
from lit_pure.images.files import list_images
from lit_pure.images.io import from_bytes, read_image
from lit_pure.metrics.score import ImageMetric, NotScorable, niqe_parameters
from lit_pure.metrics.table import METRICS

REALSR = Path(__file__).parents[3] / "shared" / "data" / "realsr"
PUBLISHED = {"psnr": 25.1511, "ssim": 0.7341, "niqe": 5.6476}
"""OSEDiff on RealSR, arXiv 2406.08177, table 1, with the digits of the authors' log."""

Y_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255


def pair(side: int = 128, noise: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    """Two photographs-like images (B=2) of 256 levels, and the same with noise."""
    generator = torch.Generator().manual_seed(0)
    base = torch.nn.functional.interpolate(torch.rand(2, 3, 16, 16, generator=generator), side, mode="bicubic")
    noisy = base.clamp(0.2, 0.8) + noise * torch.randn(base.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round() / 255, (base.clamp(0.2, 0.8) * 255).round() / 255


def y_channel(image_3HW: torch.Tensor) -> np.ndarray:
    return np.tensordot(Y_WEIGHTS, image_3HW.double().numpy(), 1) + 16 / 255


def test_psnr_is_the_closed_form() -> None:
    pred, target = pair()
    expected = [
        -10 * np.log10(np.mean((y_channel(p) - y_channel(t)) ** 2) + 1e-8) for p, t in zip(pred, target, strict=True)
    ]
    assert ImageMetric("psnr").scores(pred, target).numpy() == pytest.approx(expected, abs=1e-6)
    assert ImageMetric("psnr").scores(pred, pred).tolist() == pytest.approx([80, 80])


def test_ssim_is_that_of_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    pred, target = pair()
    expected = [
        structural_similarity(  # type: ignore[no-untyped-call]
            np.round(y_channel(p) * 255),
            np.round(y_channel(t) * 255),
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for p, t in zip(pred, target, strict=True)
    ]
    assert 0.2 < expected[0] < 0.95
    assert ImageMetric("ssim").scores(pred, target).numpy() == pytest.approx(expected, abs=1e-4)


def test_mean_over_batches_reset_and_copy() -> None:
    pred, target = pair(32)
    metric = ImageMetric("psnr")
    metric.update(pred, target)
    metric.update(pred[:1], target[:1] * 0.5)
    singles = [*metric.scores(pred, target).tolist(), *metric.scores(pred[:1], target[:1] * 0.5).tolist()]
    assert float(metric.compute()) == pytest.approx(np.mean(singles), rel=1e-6)
    assert float(copy.deepcopy(metric).compute()) == float(metric.compute())
    metric.reset()
    metric.update(pred[:1], target[:1])
    assert float(metric.compute()) == pytest.approx(singles[0], rel=1e-6)
    assert not metric.state_dict()


def test_autocast_does_not_blur_scores() -> None:
    pred, target = pair(32)
    metric = ImageMetric("psnr")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = metric.scores(pred, target)
    assert torch.equal(inside, metric.scores(pred, target))


def test_niqe_scores_128_px_and_does_not_mix_a_batch() -> None:
    pred, _ = pair(128)
    metric = ImageMetric("niqe")
    together = metric.scores(pred)
    assert together.shape == (2,) and torch.isfinite(together).all()
    torch.testing.assert_close(together, torch.cat([metric.scores(image[None]) for image in pred]))


def test_niqe_is_that_of_basicsr() -> None:
    load_basicsr()
    from basicsr.metrics.niqe import calculate_niqe

    crops = Crops(PhotosConfig(names=["astronaut", "chelsea", "rocket"]), 224, seed=0, training=False)
    for index in range(len(crops)):
        hq_3HW = crops[0, index]["hq_3HW"]
        pixels_HW3 = hq_3HW.flip(0).permute(1, 2, 0).contiguous().numpy()  # basicsr wants BGR
        expected = float(calculate_niqe(pixels_HW3, 0, input_order="HWC", convert_to="gray"))
        assert ImageMetric("niqe").scores(from_bytes(hq_3HW)[None]).item() == pytest.approx(expected, rel=1e-3)


def test_niqe_parameters_are_found_without_importing_basicsr() -> None:
    with np.load(niqe_parameters()) as numbers:
        assert numbers["mu_pris_param"].size == 36 and numbers["cov_pris_param"].shape == (36, 36)


@pytest.mark.parametrize("key", METRICS)
def test_the_smallest_side_is_the_smallest(key: str) -> None:
    metric, least = ImageMetric(key), METRICS[key].smallest_side
    pred, target = pair(max(least, 16))
    assert torch.isfinite(metric.scores(pred[..., :least, :least], target[..., :least, :least])).all()
    if least > 1:
        with pytest.raises(ValueError, match=f"{least - 1} px; the smallest side it scores is {least} px"):
            metric.scores(pred[..., :least, : least - 1], target[..., :least, : least - 1])


def test_a_flat_image_has_no_niqe_and_leaves_the_mean_alone() -> None:
    metric = ImageMetric("niqe")
    metric.update(pair(96)[0])
    before = float(metric.compute())
    with pytest.raises(NotScorable, match="niqe"):
        metric.update(torch.full((1, 3, 96, 96), 0.5))
    assert int(metric.count) == 2 and float(metric.compute()) == before


def test_bad_input_is_named() -> None:
    metric = ImageMetric("psnr")
    pred, target = pair(32)
    with pytest.raises(ValueError, match="psnr compares with a reference"):
        metric.scores(pred)
    with pytest.raises(ValueError, match="differ"):
        metric.scores(pred, target[..., :16])
    with pytest.raises(ValueError, match="-1 .. 1"):
        metric.scores(target, torch.tensor([-1.0, 1.0]).repeat(2, 3, 32, 16))
    with pytest.raises(ValueError, match="nan"):
        metric.scores(torch.full_like(pred, float("nan")), target)
    with pytest.raises(ValueError, match="uint8"):
        metric.scores(pred.byte(), target)
    with pytest.raises(ValueError, match="did you mean niqe"):
        ImageMetric("nique")


OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise RuntimeError("a metric opened a socket")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import torch
torch.set_num_threads(1)
from lit_pure.metrics.score import ImageMetric
image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
for key in ("psnr", "ssim", "niqe"):
    ImageMetric(key).scores(image, image)
"""


def test_offline_and_silent_in_an_empty_home(tmp_path: Path) -> None:
    """A fresh process without a cache folder neither connects anywhere nor writes to the terminal."""
    environment = {
        "HOME": str(tmp_path),
        "PATH": "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


def published_mean(key: str) -> float:
    """Our mean over the outputs that OSEDiff's authors published."""
    metric = ImageMetric(key)
    for path in list_images(REALSR / "results_osediff"):
        metric.update(read_image(path)[None], read_image(REALSR / "test_HR" / path.name)[None])
    assert int(metric.count) == 100
    return float(metric.compute())


with_realsr = pytest.mark.skipif(not REALSR.is_dir(), reason="the RealSR pictures are not beside the repository")


@with_realsr
@pytest.mark.parametrize("key", ["psnr", *(pytest.param(key, marks=pytest.mark.slow) for key in ("ssim", "niqe"))])
def test_published_numbers(key: str) -> None:
    # NIQE rounds the luma: one pixel in a thousand lies half-way, and float32 (theirs) and float64 (ours) part there
    tolerance = 5e-4 if key == "niqe" else 5.1e-5
    assert published_mean(key) == pytest.approx(PUBLISHED[key], abs=tolerance)
