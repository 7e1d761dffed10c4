"""Kernels against basicsr's formulas, and drawn numbers against closed-form distributions."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lit_pure.config.data import KERNEL_PROBABILITIES, KERNELS
from lit_pure.degradation.kernels import DELTA, Kernel, draw_blur, draw_final_sinc, uniform_either_side

DRAWS = 2000


def draw_many(sinc_prob: float = 0.1) -> list[Kernel]:
    rng = np.random.default_rng(0)
    shape = (KERNELS, KERNEL_PROBABILITIES, (0.2, 3.0), (0.5, 4.0), (1.0, 2.0))
    return [draw_blur(rng, 21, sinc_prob, *shape) for _ in range(DRAWS)]


@pytest.mark.parametrize("shape", KERNELS)
@pytest.mark.parametrize("size", [7, 21])
def test_gaussian_kernels_of_all_shapes_equal_basicsr_s(basicsr: None, shape: str, size: int) -> None:
    from basicsr.data import degradations as reference

    name = {"iso": "Gaussian", "aniso": "Gaussian"}.get(shape, shape.rsplit("_", 1)[0])
    function = getattr(reference, f"bivariate_{name.replace('generalized', 'generalized_Gaussian')}")
    beta = () if name == "Gaussian" else (0.7,)
    isotropic = not shape.endswith("aniso")
    expected = function(size, 2.1, 0.6, 0.4, *beta, isotropic=isotropic)
    kernel = Kernel(shape, size, 2.1, 2.1 if isotropic else 0.6, 0.0 if isotropic else 0.4, *beta)  # type: ignore[arg-type]
    np.testing.assert_allclose(kernel.matrix(), expected, atol=1e-7)


@pytest.mark.parametrize("omega", [math.pi / 5, 2.0, math.pi])
def test_sinc_kernels_equal_basicsr_s(basicsr: None, omega: float) -> None:
    from basicsr.data.degradations import circular_lowpass_kernel

    matrix = Kernel("sinc", 13, omega=omega).matrix(pad_to=21)
    np.testing.assert_allclose(matrix, circular_lowpass_kernel(omega, 13, pad_to=21), atol=1e-7)


def test_padding_a_kernel_puts_zeros_around() -> None:
    kernel = Kernel("aniso", 7, 2.0, 1.0, 0.3)
    padded = kernel.matrix(pad_to=11)
    assert padded.dtype == np.float32 and padded.shape == (11, 11)
    np.testing.assert_array_equal(padded[2:-2, 2:-2], kernel.matrix())
    assert padded.sum() == pytest.approx(1) and not padded[:2].any()


def test_the_delta_kernel_is_one_tap() -> None:
    expected = np.zeros((5, 5), np.float32)
    expected[2, 2] = 1
    np.testing.assert_array_equal(DELTA.matrix(pad_to=5), expected)


def test_kernels_of_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        Kernel("iso", 8, 1.0, 1.0)
    with pytest.raises(ValueError, match="above 0"):
        Kernel("iso", 7)
    with pytest.raises(ValueError, match="9 px to 7"):
        Kernel("iso", 9, 1.0, 1.0).matrix(pad_to=7)


def test_shapes_and_sizes_of_kernels_come_with_their_probabilities() -> None:
    kernels = draw_many()
    shapes = Counter(kernel.shape for kernel in kernels)
    expected = {shape: 0.9 * prob for shape, prob in zip(KERNELS, KERNEL_PROBABILITIES, strict=True)} | {"sinc": 0.1}
    observed = [shapes[shape] for shape in expected]  # type: ignore[index]
    assert stats.chisquare(observed, [DRAWS * prob for prob in expected.values()]).pvalue > 0.01
    sizes = Counter(kernel.size for kernel in kernels)
    assert sorted(sizes) == list(range(7, 22, 2))
    assert stats.chisquare(list(sizes.values())).pvalue > 0.01


def test_sigmas_and_angles_of_kernels_are_uniform() -> None:
    kernels = [kernel for kernel in draw_many(sinc_prob=0) if kernel.shape.endswith("aniso")]
    isotropic = [kernel for kernel in draw_many(sinc_prob=0) if not kernel.shape.endswith("aniso")]
    sigma = stats.uniform(0.2, 2.8)
    assert stats.kstest([kernel.sigma_x for kernel in kernels], sigma.cdf).pvalue > 0.01
    assert stats.kstest([kernel.sigma_y for kernel in kernels], sigma.cdf).pvalue > 0.01
    assert stats.kstest([kernel.theta for kernel in kernels], stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01
    assert all(kernel.sigma_x == kernel.sigma_y and kernel.theta == 0 for kernel in isotropic)


def test_half_the_exponents_of_kernels_lie_below_one() -> None:
    betas = [kernel.beta for kernel in draw_many(sinc_prob=0) if kernel.shape.startswith("generalized")]
    assert stats.kstest(betas, lambda beta: np.interp(beta, [0.5, 1, 4], [0, 0.5, 1])).pvalue > 0.01
    plateaus = [kernel.beta for kernel in draw_many(sinc_prob=0) if kernel.shape.startswith("plateau")]
    assert 0.4 < np.mean(np.array(plateaus) == 1) < 0.6  # the published range [1, 2] has no lower half


def test_exponents_stay_in_a_range_that_lies_on_one_side_of_one() -> None:
    rng = np.random.default_rng(0)
    for low, high in ((0.2, 0.8), (1.2, 3.0)):
        drawn = [uniform_either_side(rng, low, high, below) for below in (True, False) for _ in range(50)]
        assert low <= min(drawn) and max(drawn) <= high and max(drawn) > min(drawn)


def test_small_sinc_kernels_have_a_narrower_cutoff() -> None:
    kernels = draw_many(sinc_prob=1)
    for small, low in ((True, math.pi / 3), (False, math.pi / 5)):
        cutoffs = [kernel.omega for kernel in kernels if (kernel.size < 13) == small]
        assert stats.kstest(cutoffs, stats.uniform(low, math.pi - low).cdf).pvalue > 0.01


def test_the_final_sinc_has_its_probability_and_a_uniform_cutoff() -> None:
    rng = np.random.default_rng(0)
    kernels = [draw_final_sinc(rng, 21, 0.8) for _ in range(DRAWS)]
    sincs = [kernel for kernel in kernels if kernel.shape == "sinc"]
    assert stats.binomtest(len(sincs), DRAWS, 0.8).pvalue > 0.01
    assert all(kernel == DELTA for kernel in kernels if kernel.shape != "sinc")
    uniform = stats.uniform(math.pi / 3, math.pi * 2 / 3)
    assert stats.kstest([kernel.omega for kernel in sincs], uniform.cdf).pvalue > 0.01
