"""Degrading and evaluating are the commands of the same names; entropy top-k against its definition."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import entropy
from skimage.data import astronaut, chelsea
from skimage.metrics import peak_signal_noise_ratio

from lit_pure import degrade, entropy_top_k, evaluate
from lit_pure.__main__ import main
from lit_pure.config.compose import ConfigError
from lit_pure.images.io import from_bytes, read_bytes, to_bytes


def test_degrading_gives_the_files_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, photo in (("a", astronaut()), ("b", chelsea())):
        Image.fromarray(photo[:90, :131]).save(tmp_path / "in" / f"{name}.png")
    words = ["degrade", str(tmp_path / "in"), str(tmp_path / "out"), "--preset", "seesr", "--seed", "7", "--scale", "2"]
    assert main([*words, "--set", "jpeg_range=[50,60]"]) == 0
    photos = [tmp_path / "in" / "a.png", Image.open(tmp_path / "in" / "b.png")]
    lq_B3hw = degrade(photos, "seesr", scale=2, seed=7, settings=["jpeg_range=[50,60]"])
    assert lq_B3hw.shape == (2, 3, 45, 65)
    for name, lq_3hw in zip("ab", lq_B3hw, strict=True):
        assert torch.equal(to_bytes(lq_3hw), read_bytes(tmp_path / "out" / "lq" / f"{name}.png"))
    assert not torch.equal(degrade(photos[0], seed=1), degrade(photos[0], seed=2))


def test_evaluating_agrees_with_scikit_image() -> None:
    truth = chelsea()[:128, :128]
    noisy = np.clip(truth + np.random.default_rng(0).normal(0, 9, truth.shape), 0, 255).astype(np.uint8)
    scores = evaluate([noisy, truth[::-1].copy()], [truth, truth[::-1].copy()], ["psnr-rgb", "ssim"])
    assert float(scores["psnr-rgb"][0]) == pytest.approx(peak_signal_noise_ratio(truth, noisy), abs=1e-4)
    assert float(scores["psnr-rgb"][1]) == pytest.approx(80) and 0.2 < float(scores["ssim"][0]) < 0.95
    pixels_B3HW = from_bytes(torch.from_numpy(noisy).permute(2, 0, 1)[None])
    assert torch.equal(evaluate(pixels_B3HW + 0.001, truth, ["psnr"])["psnr"], evaluate(noisy, truth, ["psnr"])["psnr"])


def test_metrics_that_compare_are_left_out_without_truth() -> None:
    assert list(evaluate(chelsea()[:128, :128])) == ["niqe"]
    with pytest.raises(ValueError, match="psnr: each compares with the true picture"):
        evaluate(chelsea(), metrics=["psnr"])
    with pytest.raises(ValueError, match="did you mean niqe"):
        evaluate(chelsea(), metrics=["nique"])
    with pytest.raises(ValueError, match=r"one size, found \[\(3, 9, 9\), \(3, 9, 12\)\]"):
        evaluate([np.zeros((9, 9)), np.zeros((9, 12))])
    with pytest.raises(ConfigError, match="no such preset"):
        degrade(chelsea(), "sesr")


def test_entropy_top_k_is_equation_2() -> None:
    logits = torch.randn(3, 4, 50, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 6, 12).view(
        3, 4, 1
    )
    kept = entropy_top_k(logits, k_min=2, k_max=40, mu=3.0)
    counts = set()
    for row, found in zip(logits.flatten(0, 1), kept.flatten(0, 1), strict=True):
        nats = entropy(row.double().softmax(0).numpy())
        k = round(2 + 38 / (1 + math.exp(3.0 - nats)))
        assert set(found.isfinite().nonzero()[:, 0].tolist()) == set(row.topk(k).indices.tolist())
        assert torch.equal(found[found.isfinite()], row[found.isfinite()])
        counts.add(k)
    assert len(counts) > 5 and kept.dtype == logits.dtype
    assert entropy_top_k(logits[0, 0].bfloat16(), 1, 1).isfinite().sum() >= 1
    with pytest.raises(ValueError, match="1 <= k_min <= k_max"):
        entropy_top_k(logits, k_min=5, k_max=4)
    with pytest.raises(ValueError, match=r"found \(3, 0\)"):
        entropy_top_k(torch.empty(3, 0))
