"""The process as a whole: repeatable, independent of the batch, and step by step that of Real-ESRGAN."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from lit_pure.config.data import DegradationConfig
from lit_pure.degradation.kernels import DELTA
from lit_pure.degradation.pipeline import Degradation, Resize, apply, degrade, draw

CONFIG = DegradationConfig()


def keys(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


@pytest.fixture(scope="module")
def drawn() -> list[Degradation]:
    rng = np.random.default_rng(0)
    return [draw(CONFIG, rng) for _ in range(2000)]


def test_result_is_a_small_picture_of_255_levels(hq_B3HW: Tensor) -> None:
    lq_B3hw, degradations = degrade(hq_B3HW, CONFIG, keys(0, 1, 2))
    assert lq_B3hw.shape == (3, 3, 24, 16) and lq_B3hw.dtype == torch.float32 and len(degradations) == 3
    assert lq_B3hw.min() >= 0 and lq_B3hw.max() <= 1
    torch.testing.assert_close(lq_B3hw * 255, (lq_B3hw * 255).round(), atol=1e-4, rtol=0)
    small = F.interpolate(hq_B3HW, (24, 16), mode="area")
    assert np.corrcoef(small.flatten(), lq_B3hw.flatten())[0, 1] > 0.5


def test_a_key_gives_the_same_image_in_any_batch_and_order(hq_B3HW: Tensor) -> None:
    batch, degradations = degrade(hq_B3HW, CONFIG, keys(5, 6, 7))
    order = [2, 0, 1]
    shuffled, _ = degrade(hq_B3HW[order], CONFIG, keys(7, 5, 6))
    alone, [degradation] = degrade(hq_B3HW[1:2], CONFIG, keys(6))
    assert torch.equal(shuffled, batch[order]) and torch.equal(alone[0], batch[1])
    assert degradation == degradations[1]
    assert torch.equal(apply(hq_B3HW[1], degradation, 4), batch[1])
    assert not torch.equal(degrade(hq_B3HW[1:2], CONFIG, keys(8))[0], alone)


def test_degradation_is_plain_numbers() -> None:
    degradation = draw(CONFIG, np.random.default_rng(3))
    stored = json.loads(json.dumps(asdict(degradation)))
    assert stored["blur1"]["shape"] == degradation.blur1.shape and stored["noise2"]["seed"] == degradation.noise2.seed


def test_any_size_works() -> None:
    config = replace(CONFIG, resize_range=(0.01, 0.02), resize_prob=(0.0, 1.0, 0.0))
    for size in (4, 32):
        hq_83HW = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
        lq_B3hw, _ = degrade(hq_83HW, config, keys(*range(8)))
        assert lq_B3hw.shape[-1] == size // 4 and lq_B3hw.isfinite().all()


def test_wrong_arguments_are_refused(hq_B3HW: Tensor) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        degrade(hq_B3HW[..., :-1], CONFIG, keys(0, 1, 2))
    with pytest.raises(ValueError, match="2 random generators for 3 images"):
        degrade(hq_B3HW, CONFIG, keys(0, 1))
    with pytest.raises(ValueError, match="give \\(B, 3, H, W\\)"):
        degrade(hq_B3HW[0], CONFIG, keys(0, 1, 2))


def test_undegraded_image_is_only_resized(hq_B3HW: Tensor, drawn: list[Degradation]) -> None:
    """With everything off but the sizes and a JPEG of quality 100, what is left is two interpolations."""
    base = drawn[0]
    none = replace(
        base,
        sharpen=False,
        blur1=DELTA,
        blur2=DELTA,
        sinc=DELTA,
        resize1=Resize(0.77, "bilinear"),
        resize2=Resize(1.1, "area"),
        final_mode="bicubic",
        noise1=replace(base.noise1, strength=0.0),
        noise2=replace(base.noise2, strength=0.0),
        quality1=100.0,
        quality2=100.0,
    )
    gray = hq_B3HW[:1, :1].expand(-1, 3, -1, -1)
    expected = F.interpolate(gray, scale_factor=0.77, mode="bilinear")
    expected = F.interpolate(expected, (26, 17), mode="area")
    expected = F.interpolate(expected, (24, 16), mode="bicubic").clamp(0, 1)
    torch.testing.assert_close(apply(gray[0], none, 4), expected[0], atol=4 / 255, rtol=0)


def reference(hq_3HW: Tensor, d: Degradation, scale: int) -> Tensor:
    """The published order of steps written with basicsr's functions, for a degradation without noise."""
    from basicsr.utils.diffjpeg import DiffJPEG
    from basicsr.utils.img_process_util import USMSharp, filter2D

    def blur(image: Tensor, matrix: npt.NDArray[np.float32]) -> Tensor:
        blurred: Tensor = filter2D(image.contiguous(), torch.from_numpy(matrix)[None])
        return blurred

    def compress(image: Tensor, quality: float) -> Tensor:
        compressed: Tensor = DiffJPEG(differentiable=False)(image.clamp(0, 1), quality=torch.tensor([quality]))
        return compressed

    final = hq_3HW.shape[1] // scale, hq_3HW.shape[2] // scale
    out = blur(USMSharp()(hq_3HW[None]), d.blur1.matrix(21))
    out = F.interpolate(out, scale_factor=d.resize1.factor, mode=d.resize1.mode)
    out = blur(compress(out, d.quality1), d.blur2.matrix(21))
    second = tuple(int(side / scale * d.resize2.factor) for side in hq_3HW.shape[1:])
    out = F.interpolate(out, size=second, mode=d.resize2.mode).clamp(0, 1)
    if d.sinc_first:
        out = blur(F.interpolate(out, size=final, mode=d.final_mode), d.sinc.matrix(21))
        out = compress(out, d.quality2)
    else:
        out = compress(out, d.quality2)
        out = blur(F.interpolate(out, size=final, mode=d.final_mode), d.sinc.matrix(21))
    return (out[0] * 255).round().clamp(0, 255) / 255


def test_steps_equal_basicsr_without_noise(basicsr: None, hq_B3HW: Tensor, drawn: list[Degradation]) -> None:
    large = F.interpolate(hq_B3HW, scale_factor=2, mode="bilinear")  # mirroring in basicsr needs more than 10 px
    orders = set()
    for degradation in drawn[:8]:
        silent1, silent2 = (replace(noise, strength=0.0) for noise in (degradation.noise1, degradation.noise2))
        silent = replace(degradation, noise1=silent1, noise2=silent2)
        with torch.no_grad():
            expected = reference(large[0], silent, 4)
        difference = (apply(large[0], silent, 4) - expected).abs() * 255
        assert (difference < 1.5).float().mean() > 0.99 and difference.mean() < 0.05
        orders.add(silent.sinc_first)
    assert orders == {True, False}


def test_noise_and_its_seed_matter(hq_B3HW: Tensor, drawn: list[Degradation]) -> None:
    base = replace(drawn[0], noise1=replace(drawn[0].noise1, kind="gaussian", strength=30.0))
    other = replace(base, noise1=replace(base.noise1, seed=base.noise1.seed + 1))
    silent = replace(base, noise1=replace(base.noise1, strength=0.0))
    results = [apply(hq_B3HW[0], degradation, 4) for degradation in (base, base, other, silent)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2]) and not torch.equal(results[0], results[3])


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        (lambda d: d.noise1.kind == "gaussian", 0.5),
        (lambda d: d.noise2.gray, 0.4),
        (lambda d: d.blur2 == DELTA, 0.2),
        (lambda d: d.sinc == DELTA, 0.2),
        (lambda d: d.sinc_first, 0.5),
        (lambda d: d.resize1.factor > 1, 0.2),
        (lambda d: d.resize1.factor == 1, 0.1),
        (lambda d: d.resize2.factor < 1, 0.4),
        (lambda d: d.resize2.factor == 1, 0.3),
    ],
)
def test_probabilities(drawn: list[Degradation], choose: Callable[[Degradation], bool], expected: float) -> None:
    assert stats.binomtest(sum(map(choose, drawn)), len(drawn), expected).pvalue > 0.005


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (lambda d: [d.quality1], 30, 95),
        (lambda d: [d.quality2], 30, 95),
        (lambda d: [d.noise1.strength] if d.noise1.kind == "gaussian" else [], 1, 30),
        (lambda d: [d.noise2.strength] if d.noise2.kind == "poisson" else [], 0.05, 2.5),
        (lambda d: [d.resize1.factor] if d.resize1.factor < 1 else [], 0.15, 1),
        (lambda d: [d.resize2.factor] if d.resize2.factor > 1 else [], 1, 1.2),
        (lambda d: [d.blur2.sigma_x] if d.blur2.shape not in ("delta", "sinc") else [], 0.2, 1.5),
    ],
)
def test_numbers_are_uniform(
    drawn: list[Degradation], values: Callable[[Degradation], list[float]], low: float, high: float
) -> None:
    numbers = [number for degradation in drawn for number in values(degradation)]
    assert len(numbers) > 150 and stats.kstest(numbers, stats.uniform(low, high - low).cdf).pvalue > 0.005


def test_modes_are_uniform(drawn: list[Degradation]) -> None:
    for modes in ([d.resize1.mode for d in drawn], [d.resize2.mode for d in drawn], [d.final_mode for d in drawn]):
        counts = Counter(modes)
        assert set(counts) == {"area", "bilinear", "bicubic"} and stats.chisquare(list(counts.values())).pvalue > 0.005
