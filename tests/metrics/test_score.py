"""Scores against closed forms, scikit-image, pyiqa's own classes, and the numbers that a paper published.

Networks have random weights, in files where the published ones belong (`foreign.py`); the oracle is pyiqa's class,
built by pyiqa from the same files.
"""

import copy
import hashlib
import logging
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from lit_pure.bench.basicsr_import import load_basicsr
from lit_pure.config.compose import PROJECT
from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.photos import Crops
from lit_pure.images.files import list_images
from lit_pure.images.io import from_bytes, read_image, write_png
from lit_pure.metrics.score import Frechet, NotScorable, Scorer, distance, score_bytes
from lit_pure.metrics.table import METRICS
from tests.metrics import foreign

REALSR = PROJECT.parent / "shared" / "data" / "realsr"
PUBLISHED = {"psnr": 25.1511, "ssim": 0.7341, "niqe": 5.6476}
"""OSEDiff on RealSR, arXiv 2406.08177, table 1, with the digits of the authors' log."""

Y_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255
EXACT = [key for key, info in METRICS.items() if info.exact]


def pair(side: int = 128, noise: float = 0.05, count: int = 2) -> tuple[Tensor, Tensor]:
    """Photographs-like images of 256 levels, and the same with noise."""
    generator = torch.Generator().manual_seed(0)
    base = torch.nn.functional.interpolate(torch.rand(count, 3, 16, 16, generator=generator), side, mode="bicubic")
    noisy = base.clamp(0.2, 0.8) + noise * torch.randn(base.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round() / 255, (base.clamp(0.2, 0.8) * 255).round() / 255


def y_channel(image_3HW: Tensor) -> np.ndarray:
    return np.tensordot(Y_WEIGHTS, image_3HW.double().numpy(), 1) + 16 / 255


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A TORCH_HOME for random weights, which are large, so they are deleted at once."""
    yield tmp_path
    for path in tmp_path.rglob("*.pt*"):
        path.unlink()


# closed forms and other implementations


def test_psnr_is_the_closed_form() -> None:
    pred, target = pair()
    expected = [
        -10 * np.log10(np.mean((y_channel(p) - y_channel(t)) ** 2) + 1e-8) for p, t in zip(pred, target, strict=True)
    ]
    assert Scorer("psnr").scores(pred, target).numpy() == pytest.approx(expected, abs=1e-6)
    assert Scorer("psnr").scores(pred, pred).tolist() == pytest.approx([80, 80])
    every_color = -10 * torch.log10((pred.double() - target.double()).square().mean((1, 2, 3)) + 1e-8)
    torch.testing.assert_close(Scorer("psnr-rgb").scores(pred, target), every_color)


@pytest.mark.parametrize("key", ["ssim", "ssim-rgb"])
def test_ssim_is_that_of_scikit_image(key: str) -> None:
    from skimage.metrics import structural_similarity

    def planes(image_3HW: Tensor) -> np.ndarray:
        pixels = y_channel(image_3HW)[None] if key == "ssim" else image_3HW.double().numpy()
        return np.round(pixels * 255)

    pred, target = pair()
    expected = [
        structural_similarity(  # type: ignore[no-untyped-call]
            planes(p),
            planes(t),
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=0,
        )
        for p, t in zip(pred, target, strict=True)
    ]
    assert 0.2 < expected[0] < 0.95
    assert Scorer(key).scores(pred, target).numpy() == pytest.approx(expected, abs=1e-4)


def test_niqe_scores_128_px_and_does_not_mix_a_batch() -> None:
    pred, _ = pair(128)
    scorer = Scorer("niqe")
    together = scorer.scores(pred)
    assert together.shape == (2,) and torch.isfinite(together).all()
    torch.testing.assert_close(together, torch.cat([scorer.scores(image[None]) for image in pred]))


def test_niqe_is_that_of_basicsr() -> None:
    load_basicsr()
    from basicsr.metrics.niqe import calculate_niqe

    crops = Crops(PhotosConfig(names=["astronaut", "chelsea", "rocket"]), 224, seed=0, training=False)
    for index in range(len(crops)):
        hq_3HW = crops[0, index]["hq_3HW"]
        pixels_HW3 = hq_3HW.flip(0).permute(1, 2, 0).contiguous().numpy()  # basicsr wants BGR
        expected = float(calculate_niqe(pixels_HW3, 0, input_order="HWC", convert_to="gray"))
        assert Scorer("niqe").scores(from_bytes(hq_3HW)[None]).item() == pytest.approx(expected, rel=1e-3)


# networks, against pyiqa's own classes


def oracle(key: str, patch: pytest.MonkeyPatch) -> nn.Module:
    """pyiqa's metric as pyiqa builds it from TORCH_HOME; no digest of CLIP's is known to it but that of the file."""
    import pyiqa
    from pyiqa.archs import clip_model
    from pyiqa.utils import download_util

    logging.getLogger("pyiqa").setLevel(logging.WARNING)
    hub = Path(torch.hub.get_dir())
    clip = hub / "clip" / "RN50.pt"
    digest = hashlib.sha256(clip.read_bytes()).hexdigest() if clip.is_file() else ""
    with pytest.MonkeyPatch.context() as here:
        here.setattr(download_util, "DEFAULT_CACHE_DIR", str(hub / "pyiqa"))
        here.setattr(timm, "create_model", foreign.random_backbone)
        here.setitem(clip_model._MODELS, "RN50", f"https://nowhere.invalid/{digest}/RN50.pt")
        info = METRICS[key]
        build_network: nn.Module = pyiqa.create_metric(info.pyiqa_name, device=torch.device("cpu"), **info.options)
    return build_network


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("key", foreign.KEYS)
def test_a_network_scores_as_pyiqa_does(key: str, home: Path, patch: pytest.MonkeyPatch) -> None:
    """Loading, pixel range, sizes, batches, colour order, precision, and no dependence on random numbers."""
    foreign.place(key, home, patch)
    scorer, theirs = Scorer(key), oracle(key, patch)
    needs_reference = METRICS[key].needs_reference
    small = key in ("lpips", "lpips-vgg", "dists")  # they score any size as it is, slowly; the others resize or crop
    for height, width in ((48, 64), (56, 40) if small else (250, 232)):
        pred, target = pair(256, count=3)
        pred, target = pred[..., :height, :width], target[..., :height, :width]
        ours = scorer.scores(pred, target)
        expected = (theirs(pred, target) if needs_reference else theirs(pred)).flatten().double()
        assert ours.shape == (3,) and ours.dtype == torch.float64
        torch.testing.assert_close(ours, expected, rtol=2e-5, atol=2e-6)
        assert len(set(expected.tolist())) == 3, "pictures that score the same would test little"
        torch.manual_seed(5)
        alone = torch.cat([scorer.scores(pred[[i]], target[[i]]) for i in (2, 0, 1)])
        assert torch.equal(alone, ours[[2, 0, 1]]), "a score depends on its picture alone"
        swapped = scorer.scores(pred.flip(1), target.flip(1))
        assert ((swapped - ours).abs() > 1e-6).any(), "RGB and BGR score the same"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(scorer.scores(pred, target), ours)
    if needs_reference:
        assert scorer.scores(target, target).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert torch.equal(copy.deepcopy(scorer).scores(pred, target), ours)
    assert torch.equal(pickle.loads(pickle.dumps(scorer)).scores(pred, target), ours)


def test_a_picture_that_fails_half_way_leaves_maniqa_as_it_was(home: Path, patch: pytest.MonkeyPatch) -> None:
    """pyiqa collects the features of its backbone's blocks and throws them away only when all went well."""
    foreign.place("maniqa", home, patch)
    scorer, (pred, _) = Scorer("maniqa"), pair(96)
    expected = scorer.scores(pred)
    with pytest.MonkeyPatch.context() as here:
        here.setattr(type(scorer._network.vit), "forward_head", lambda *arguments: torch.ones(1) @ torch.ones(2))
        with pytest.raises(NotScorable, match="maniqa cannot score a picture of 96 x 96 px: .*size"):
            scorer.scores(1 - pred)
    assert scorer._network.save_output.outputs, "nothing was collected, so this tests nothing"
    assert torch.equal(scorer.scores(pred), expected)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_fid_is_that_of_pyiqa_on_folders(home: Path, patch: pytest.MonkeyPatch) -> None:
    foreign.place("fid", home, patch)
    pred, target = pair(96, noise=0.2, count=4)
    for name, images in (("pred", pred), ("target", target[:3])):
        (home / name).mkdir()
        for index, image_3HW in enumerate(images):
            write_png(home / name / f"{index}.png", image_3HW)
    from pyiqa.archs.fid_arch import frechet_distance, get_folder_features

    build_network = oracle("fid", patch).net.model  # type: ignore[union-attr]
    ours, theirs = {}, {}
    for name, images in (("pred", pred), ("target", target[:3])):
        folder = str(home / name)
        theirs[name] = get_folder_features(folder, build_network, 0, device=torch.device("cpu"), verbose=False)
        ours[name] = Frechet("fid").features(images)
        assert ours[name].shape == (len(images), 2048) and ours[name].dtype == torch.float64
        np.testing.assert_allclose(ours[name].numpy(), theirs[name], rtol=1e-4, atol=1e-6)
    # All 2048 features cost scipy's matrix root half a minute; the 200 that vary most tell the same.
    most = np.argsort(theirs["pred"].var(0))[-200:]
    mean = {name: features[:, most].astype(np.float64).mean(0) for name, features in theirs.items()}
    covariance = {name: np.cov(features[:, most], rowvar=False) for name, features in theirs.items()}
    expected = frechet_distance(mean["pred"], covariance["pred"], mean["target"], covariance["target"])
    assert distance(ours["pred"][:, most], ours["target"][:, most]) == pytest.approx(expected, rel=1e-3)
    with pytest.raises(ValueError, match="at least 2 images in each; target has 1"):
        distance(ours["pred"], ours["target"][:1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("counts", [(300, 200), (300, 12)])
def test_the_distance_of_two_sets_is_frechet_s_formula(counts: tuple[int, int]) -> None:
    """Gaussians fitted to many samples of 20 features, and to fewer samples than features."""
    from pyiqa.archs.fid_arch import frechet_distance

    rng = np.random.default_rng(0)
    a, b = (
        rng.normal(shift, 1, (count, 20)) @ rng.normal(size=(20, 20))
        for shift, count in zip((0, 0.3), counts, strict=True)
    )
    expected = frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))
    assert distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-6)
    assert distance(torch.from_numpy(a), torch.from_numpy(a)) == pytest.approx(0, abs=1e-9 * np.trace(np.cov(a.T)))
    # one feature: (difference of means)^2 + (difference of deviations)^2
    one, two = a[:, :1], b[:, :1]
    closed = (one.mean() - two.mean()) ** 2 + (one.std(ddof=1) - two.std(ddof=1)) ** 2
    assert distance(torch.from_numpy(one), torch.from_numpy(two)) == pytest.approx(closed, rel=1e-9)


# what can be scored


@pytest.mark.parametrize("key", [*EXACT, "lpips", "lpips-vgg", "dists", "musiq", "maniqa", "topiq"])
def test_each_metric_scores_its_smallest_side_and_nothing_smaller(
    key: str, home: Path, patch: pytest.MonkeyPatch
) -> None:
    if key not in EXACT:
        foreign.place(key, home, patch)
    scorer, least = Scorer(key), METRICS[key].smallest_side
    pred, target = pair(max(least, 16))
    assert torch.isfinite(scorer.scores(pred[..., :least, :], target[..., :least, :])).all()
    assert torch.isfinite(scorer.scores(pred[..., :least, :least], target[..., :least, :least])).all()
    if least > 1:
        with pytest.raises(ValueError, match=f"{least - 1} px; the smallest side it scores is {least} px"):
            scorer.scores(pred[..., :least, : least - 1], target[..., :least, : least - 1])
        if key not in EXACT:  # the figure is no larger than it must be
            patch.setitem(METRICS, key, replace(scorer.info, smallest_side=1))
            with pytest.raises(NotScorable, match="cannot score a picture"):
                Scorer(key).scores(pred[..., :least, : least - 1], target[..., :least, : least - 1])


def test_a_picture_too_oblong_for_musiq_is_named(home: Path, patch: pytest.MonkeyPatch) -> None:
    foreign.place("musiq", home, patch)
    with pytest.raises(NotScorable, match="musiq cannot score a picture of 1 x 500 px"):
        Scorer("musiq").scores(torch.rand(1, 3, 1, 500))
    one_3HW = torch.randint(256, (3, 1, 500), dtype=torch.uint8)
    scores, lacking = score_bytes([Scorer("musiq")], one_3HW, None, torch.device("cpu"))
    assert not scores and lacking["musiq"].startswith("musiq cannot score a picture of 1 x 500 px: ")


def test_a_flat_image_has_no_niqe() -> None:
    flat = torch.full((1, 3, 96, 96), 0.5)
    with pytest.raises(NotScorable, match=r"niqe has no finite score for images \[1\] of this batch"):
        Scorer("niqe").scores(torch.cat([pair(96)[0][:1], flat]))


def test_scorers_name_what_is_wrong_with_their_input() -> None:
    scorer, (pred, target) = Scorer("psnr"), pair(32)
    with pytest.raises(ValueError, match="psnr compares with a reference"):
        scorer.scores(pred)
    with pytest.raises(ValueError, match="differ"):
        scorer.scores(pred, target[..., :16, :16])
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        scorer.scores(pred[0], target[0])
    with pytest.raises(ValueError, match="-1 .. 1"):
        scorer.scores(target, torch.tensor([-1.0, 1.0]).repeat(2, 3, 32, 16))
    with pytest.raises(ValueError, match="nan"):
        scorer.scores(torch.full_like(pred, float("nan")), target)
    with pytest.raises(ValueError, match="uint8"):
        scorer.scores(pred.byte(), target)
    with pytest.raises(ValueError, match="did you mean niqe"):
        Scorer("nique")
    with pytest.raises(ValueError, match="fid compares two sets"):
        Scorer("fid")
    with pytest.raises(ValueError, match="niqe scores single images"):
        Frechet("niqe")


def test_settings_of_a_run_neither_change_scores_nor_are_changed() -> None:
    pred, target = pair(32)
    scorer = Scorer("psnr")
    expected = scorer.scores(pred, target)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(scorer.scores(pred, target), expected)
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert not scorer.scores(pred.requires_grad_(), target).requires_grad


OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise RuntimeError("a metric opened a socket")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import torch
torch.set_num_threads(1)
from lit_pure.metrics.score import Scorer
image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
for key in ("psnr", "ssim", "niqe"):
    Scorer(key).scores(image, image)
"""


def test_exact_metrics_score_offline_and_silently_in_an_empty_home(tmp_path: Path) -> None:
    """A fresh process without a cache folder neither connects anywhere nor writes to the terminal."""
    environment = {
        "HOME": str(tmp_path),
        "PATH": "",
        "PYTHONPATH": str(PROJECT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


def published_mean(key: str) -> float:
    """Our mean over the outputs that OSEDiff's authors published."""
    scorer, scores = Scorer(key), []
    for path in list_images(REALSR / "results_osediff"):
        scores.append(scorer.scores(read_image(path)[None], read_image(REALSR / "test_HR" / path.name)[None]).item())
    assert len(scores) == 100
    return float(np.mean(scores))


with_realsr = pytest.mark.skipif(not REALSR.is_dir(), reason="the RealSR pictures are not beside the repository")


@with_realsr
@pytest.mark.parametrize("key", ["psnr", *(pytest.param(key, marks=pytest.mark.slow) for key in ("ssim", "niqe"))])
def test_scores_of_osediff_are_the_published_ones(key: str) -> None:
    # NIQE rounds the luma: one pixel in a thousand lies half-way, and float32 (theirs) and float64 (ours) part there
    tolerance = 5e-4 if key == "niqe" else 5.1e-5
    assert published_mean(key) == pytest.approx(PUBLISHED[key], abs=tolerance)
