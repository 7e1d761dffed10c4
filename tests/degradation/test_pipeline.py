"""The process as a whole: repeatable, independent of the batch, and step by step that of Real-ESRGAN."""

import json
import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from lit_pure.bench.basicsr_pipeline import BasicsrPipeline
from lit_pure.config.data import RESIZE_MODES, DegradationConfig
from lit_pure.degradation.kernels import DELTA, Kernel
from lit_pure.degradation.numbers import Degradation, Resize
from lit_pure.degradation.pipeline import apply, apply_all, degrade, draw, stages

CONFIG = DegradationConfig()


def keys(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


@pytest.fixture(scope="module")
def drawn() -> list[Degradation]:
    rng = np.random.default_rng(0)  # chosen once
    return [draw(CONFIG, rng) for _ in range(2000)]


def test_a_degraded_picture_is_small_and_has_256_levels(hq_B3HW: Tensor) -> None:
    lq_B3hw, degradations = degrade(hq_B3HW, CONFIG, keys(0, 1, 2))
    assert lq_B3hw.shape == (3, 3, 24, 16) and lq_B3hw.dtype == torch.float32 and len(degradations) == 3
    assert lq_B3hw.min() >= 0 and lq_B3hw.max() <= 1
    torch.testing.assert_close(lq_B3hw * 255, (lq_B3hw * 255).round(), atol=1e-4, rtol=0)
    small = F.interpolate(hq_B3HW, (24, 16), mode="area")
    assert np.corrcoef(small.flatten(), lq_B3hw.flatten())[0, 1] > 0.5


def test_a_key_gives_the_same_degraded_image_in_any_batch_and_order(hq_B3HW: Tensor) -> None:
    batch, degradations = degrade(hq_B3HW, CONFIG, keys(5, 6, 7))
    order = [2, 0, 1]
    shuffled, _ = degrade(hq_B3HW[order], CONFIG, keys(7, 5, 6))
    alone, [degradation] = degrade(hq_B3HW[1:2], CONFIG, keys(6))
    assert torch.equal(shuffled, batch[order]) and torch.equal(alone[0], batch[1])
    assert degradation == degradations[1]
    assert torch.equal(apply(hq_B3HW[1], degradation, 4), batch[1])
    assert not torch.equal(degrade(hq_B3HW[1:2], CONFIG, keys(8))[0], alone)


def test_threads_and_memory_layout_change_no_bit_of_a_degraded_image(hq_B3HW: Tensor) -> None:
    """At odd sides, the second image of a batch stands at an address that is not aligned."""
    config = replace(CONFIG, scale=1)
    batch = F.interpolate(hq_B3HW, (131, 131), mode="bilinear").repeat(2, 1, 1, 1)
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(degrade(batch, config, keys(*range(6)))[0])
            with ThreadPoolExecutor(1) as pool:
                assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == count
    finally:
        torch.set_num_threads(threads)
    other_layout = batch.contiguous(memory_format=torch.channels_last)
    results.append(degrade(other_layout, config, keys(*range(6)))[0])
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_steps_of_degradation_see_one_thread_and_an_aligned_copy(
    hq_B3HW: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both change how products of matrices are rounded, in a few pixels of a few sizes: too rare to test by results."""
    seen: list[tuple[int, int, bool]] = []

    def steps(image: Tensor, *_: object) -> list[tuple[str, Tensor]]:
        seen.append((torch.get_num_threads(), image.data_ptr() % 64, image.is_contiguous()))
        return [("only", image)]

    monkeypatch.setattr("lit_pure.degradation.pipeline._steps", steps)
    threads = torch.get_num_threads()
    batch = torch.rand(3, 3, 35, 35).contiguous(memory_format=torch.channels_last)
    try:
        torch.set_num_threads(2)
        degrade(batch, replace(CONFIG, scale=1), keys(0, 1, 2))
        apply(batch[1], draw(CONFIG, keys(0)[0]), 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert seen == [(1, 0, True)] * 4


def test_stages_end_with_what_apply_gives_and_change_where_a_step_happens(hq_B3HW: Tensor) -> None:
    drawn = replace(draw(CONFIG, keys(3)[0]), quality1=None)
    told = stages(hq_B3HW[0], drawn, CONFIG.scale)
    pictures = dict(told)
    assert torch.equal(told[-1][1], apply(hq_B3HW[0], drawn, CONFIG.scale))
    assert torch.equal(pictures["JPEG 1"], pictures["noise 1"])
    assert not torch.equal(pictures["noise 1"], pictures["resize 1"])
    order = "sharpen, blur 1, resize 1, noise 1, JPEG 1, blur 2, resize 2, noise 2"
    assert ", ".join(list(pictures)[:8]) == order
    assert set(list(pictures)[8:-1]) == {"JPEG 2", "final size", "final sinc"}


def test_a_drawn_degradation_is_plain_numbers() -> None:
    degradation = draw(CONFIG, np.random.default_rng(3))
    stored = json.loads(json.dumps(asdict(degradation)))
    assert stored["blur1"]["shape"] == degradation.blur1.shape and stored["noise2"]["seed"] == degradation.noise2.seed


def test_pictures_of_any_size_are_degraded_at_the_smallest_factors() -> None:
    config = replace(CONFIG, resize_range=(0.01, 0.02), resize_prob=(0.0, 1.0, 0.0))
    for size in (4, 32):
        hq_83HW = torch.rand(8, 3, size, size, generator=torch.Generator().manual_seed(0))
        lq_B3hw, _ = degrade(hq_83HW, config, keys(*range(8)))
        assert lq_B3hw.shape[-1] == size // 4 and lq_B3hw.isfinite().all()


def test_degrade_refuses_wrong_shapes_and_numbers_of_generators(hq_B3HW: Tensor) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        degrade(hq_B3HW[..., :-1], CONFIG, keys(0, 1, 2))
    with pytest.raises(ValueError, match="2 random generators for 3 images"):
        degrade(hq_B3HW, CONFIG, keys(0, 1))
    with pytest.raises(ValueError, match="1 degradations for 3 images"):
        apply_all(hq_B3HW, [draw(CONFIG, keys(0)[0])], 4)
    with pytest.raises(ValueError, match=r"a batch \(B, 3, H, W\).*image\[None\]"):
        degrade(hq_B3HW[0], CONFIG, keys(0, 1, 2))


def test_a_batch_of_one_takes_its_generator_alone(hq_B3HW: Tensor) -> None:
    alone, [drawn] = degrade(hq_B3HW[:1], CONFIG, keys(4)[0])
    assert torch.equal(alone, degrade(hq_B3HW[:1], CONFIG, keys(4))[0]) and drawn == draw(CONFIG, keys(4)[0])
    with pytest.raises(ValueError, match="1 random generators for 3 images; give one for each"):
        degrade(hq_B3HW, CONFIG, keys(4)[0])


def test_pixels_that_are_not_in_0_to_1_are_refused_before_anything_is_drawn(hq_B3HW: Tensor) -> None:
    rngs, drawn = keys(0, 1, 2), draw(CONFIG, keys(0)[0])
    for wrong, remedy in ((hq_B3HW * 255, "divide them by 255"), ((hq_B3HW * 255).byte(), "from_bytes")):
        with pytest.raises(ValueError, match=f"HQ pictures: .*{remedy}"):
            degrade(wrong, CONFIG, rngs)
        for function in (apply, stages):
            with pytest.raises(ValueError, match=f"HQ picture: .*{remedy}"):
                function(wrong[0], drawn, CONFIG.scale)
    assert [rng.random() for rng in rngs] == [rng.random() for rng in keys(0, 1, 2)]


def test_a_degradation_without_steps_only_resizes(hq_B3HW: Tensor, drawn: list[Degradation]) -> None:
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


def test_degradation_without_noise_equals_basicsr_s(basicsr: None, hq_B3HW: Tensor, drawn: list[Degradation]) -> None:
    large = F.interpolate(hq_B3HW, scale_factor=2, mode="bilinear")  # mirroring in basicsr needs more than 10 px
    orders, reference = set(), BasicsrPipeline()
    for degradation in drawn[:8]:
        silent1, silent2 = (replace(noise, strength=0.0) for noise in (degradation.noise1, degradation.noise2))
        silent = replace(degradation, noise1=silent1, noise2=silent2)
        expected = reference.repeat(large[0], silent, 4)
        difference = (apply(large[0], silent, 4) - expected).abs() * 255
        assert (difference < 1.5).float().mean() > 0.99 and difference.mean() < 0.05
        orders.add(silent.sinc_first)
    assert orders == {True, False}


def test_a_degraded_image_depends_on_the_noise_and_its_seed(hq_B3HW: Tensor, drawn: list[Degradation]) -> None:
    base = replace(drawn[0], noise1=replace(drawn[0].noise1, kind="gaussian", strength=30.0))
    other = replace(base, noise1=replace(base.noise1, seed=base.noise1.seed + 1))
    silent = replace(base, noise1=replace(base.noise1, strength=0.0))
    results = [apply(hq_B3HW[0], degradation, 4) for degradation in (base, base, other, silent)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2]) and not torch.equal(results[0], results[3])


def enlarges(resize: Resize) -> str:
    return "keep" if resize.factor == 1 else "up" if resize.factor > 1 else "down"


@pytest.mark.parametrize(
    ("choose", "odds"),
    [
        (lambda d: enlarges(d.resize1), {"up": 0.2, "down": 0.7, "keep": 0.1}),
        (lambda d: enlarges(d.resize2), {"up": 0.3, "down": 0.4, "keep": 0.3}),
        (lambda d: d.noise1.kind, {"gaussian": 0.5, "poisson": 0.5}),
        (lambda d: d.noise2.kind, {"gaussian": 0.5, "poisson": 0.5}),
        (lambda d: d.noise1.gray, {True: 0.4, False: 0.6}),
        (lambda d: d.noise2.gray, {True: 0.4, False: 0.6}),
        (lambda d: d.blur1.shape == "sinc", {True: 0.1, False: 0.9}),
        (lambda d: d.blur2 == DELTA, {True: 0.2, False: 0.8}),
        (lambda d: d.sinc == DELTA, {True: 0.2, False: 0.8}),
        (lambda d: d.sinc_first, {True: 0.5, False: 0.5}),
        (lambda d: d.resize1.mode, dict.fromkeys(RESIZE_MODES, 1 / 3)),
        (lambda d: d.resize2.mode, dict.fromkeys(RESIZE_MODES, 1 / 3)),
        (lambda d: d.final_mode, dict.fromkeys(RESIZE_MODES, 1 / 3)),
    ],
)
def test_choices_of_a_degradation_have_their_probabilities(
    drawn: list[Degradation], choose: Callable[[Degradation], object], odds: dict[object, float]
) -> None:
    counts = Counter(map(choose, drawn))
    assert counts.keys() == odds.keys()
    assert stats.chisquare([counts[key] for key in odds], [len(drawn) * p for p in odds.values()]).pvalue > 0.01


def sigmas(kernel: Kernel) -> list[float]:
    return [kernel.sigma_x] if kernel.shape not in ("delta", "sinc") else []


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (lambda d: [d.quality1], 30, 95),
        (lambda d: [d.quality2], 30, 95),
        (lambda d: [d.noise1.strength] if d.noise1.kind == "gaussian" else [], 1, 30),
        (lambda d: [d.noise1.strength] if d.noise1.kind == "poisson" else [], 0.05, 3),
        (lambda d: [d.noise2.strength] if d.noise2.kind == "gaussian" else [], 1, 25),
        (lambda d: [d.noise2.strength] if d.noise2.kind == "poisson" else [], 0.05, 2.5),
        (lambda d: [d.resize1.factor] if d.resize1.factor > 1 else [], 1, 1.5),
        (lambda d: [d.resize1.factor] if d.resize1.factor < 1 else [], 0.15, 1),
        (lambda d: [d.resize2.factor] if d.resize2.factor > 1 else [], 1, 1.2),
        (lambda d: [d.resize2.factor] if d.resize2.factor < 1 else [], 0.3, 1),
        (lambda d: sigmas(d.blur1), 0.2, 3),
        (lambda d: sigmas(d.blur2), 0.2, 1.5),
        (lambda d: [d.sinc.omega] if d.sinc != DELTA else [], math.pi / 3, math.pi),
    ],
)
def test_numbers_of_a_degradation_are_uniform_in_their_ranges(
    drawn: list[Degradation], values: Callable[[Degradation], list[float]], low: float, high: float
) -> None:
    numbers = [number for degradation in drawn for number in values(degradation)]
    assert len(numbers) > 300 and stats.kstest(numbers, stats.uniform(low, high - low).cdf).pvalue > 0.01


def test_autocast_changes_nothing_of_a_degraded_image(hq_B3HW: Tensor, drawn: list[Degradation]) -> None:
    for degradation in drawn[:4]:
        expected = apply(hq_B3HW[0], degradation, 4)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(apply(hq_B3HW[0], degradation, 4), expected)
