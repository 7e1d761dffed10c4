"""Step by step and number by number the process is that of Real-ESRGAN, as composed of basicsr's functions.

Steps get the same kernel, noise field, size and quality on both sides. Numbers are 2,000 draws of each side; the seeds
were chosen once.
"""

import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from lit_pure.bench.basicsr_pipeline import BasicsrPipeline, Plan, draw_plan, plan_of
from lit_pure.config.data import KERNELS, RESIZE_MODES, SKIMAGE, DegradationConfig, PhotosConfig
from lit_pure.datasets.sources import find_photos
from lit_pure.degradation.filters import convolve, sharpen
from lit_pure.degradation.jpeg import jpeg
from lit_pure.degradation.kernels import Kernel
from lit_pure.degradation.noise import add_gaussian, add_poisson
from lit_pure.degradation.numbers import Resize
from lit_pure.degradation.pipeline import _resize_by, _resize_to, apply, draw
from lit_pure.images.io import read_image

CONFIG = DegradationConfig()
DRAWS = 2000
SEED = 0
LIMIT = 2e-3
"""Of the range of a pixel; rounding alone makes 1e-6."""
SIZES = [(321, 321), (61, 83), (33, 12)]
"""Of crops [px]: large, odd, and smaller than the kernels."""
sizes = pytest.mark.parametrize("size", SIZES)


def photos(*names: str) -> list[Path]:
    """Those inside scikit-image, which everybody has."""
    return [photo.path for photo in find_photos(PhotosConfig(source=SKIMAGE, names=[*names]), least_side=128).found]


@pytest.fixture(scope="session")
def photo_3HW() -> Tensor:
    (path,) = photos("coffee")
    return read_image(path)


def crop(photo_3HW: Tensor, size: tuple[int, int]) -> Tensor:
    return photo_3HW[:, -size[0] :, : size[1]].contiguous()


def largest(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return (found - expected).abs().max().item()


@sizes
@pytest.mark.parametrize("shape", KERNELS)
def test_blur_equals_basicsr_s(basicsr: None, photo_3HW: Tensor, size: tuple[int, int], shape: str) -> None:
    from basicsr.utils.img_process_util import filter2D

    image = crop(photo_3HW, size)
    for side in (7, 21):
        matrix = torch.from_numpy(Kernel(shape, side, 2.5, 2.5 if "_iso" in shape else 0.7, 0.6, 1.3).matrix())  # type: ignore[arg-type]
        assert largest(convolve(image, matrix), filter2D(image[None], matrix[None])[0]) < LIMIT


@sizes
@pytest.mark.parametrize("omega", [math.pi / 5, 2.0, math.pi])
def test_sinc_filter_equals_basicsr_s(basicsr: None, photo_3HW: Tensor, size: tuple[int, int], omega: float) -> None:
    from basicsr.data.degradations import circular_lowpass_kernel
    from basicsr.utils.img_process_util import filter2D

    image = crop(photo_3HW, size)
    published = torch.FloatTensor(circular_lowpass_kernel(omega, 13, pad_to=21))
    found = convolve(image, torch.from_numpy(Kernel("sinc", 13, omega=omega).matrix()))
    assert largest(found, filter2D(image[None], published[None])[0]) < LIMIT


@pytest.mark.parametrize("size", [(321, 321), (61, 83), (27, 130)])
def test_unsharp_mask_equals_basicsr_s(basicsr: None, photo_3HW: Tensor, size: tuple[int, int]) -> None:
    from basicsr.utils.img_process_util import USMSharp

    image = crop(photo_3HW, size)
    assert largest(sharpen(image), USMSharp()(image[None])[0]) < LIMIT


@sizes
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_resizes_equal_torch_s_interpolation(photo_3HW: Tensor, size: tuple[int, int], mode: str) -> None:
    image = crop(photo_3HW, size)
    for factor in (0.15, 0.77, 1.0, 1.31):
        resize = Resize(factor, mode)  # type: ignore[arg-type]
        expected = F.interpolate(image[None], scale_factor=factor, mode=mode)[0]
        assert largest(_resize_by(image, resize), expected) < LIMIT
    expected = F.interpolate(image[None], size=(19, 23), mode=mode)[0]
    assert largest(_resize_to(image, (19, 23), mode), expected) < LIMIT  # type: ignore[arg-type]


@sizes
@pytest.mark.parametrize("quality", [30.0, 61.7, 95.0])
def test_jpeg_equals_basicsr_s_but_for_rounding(
    basicsr: None, photo_3HW: Tensor, size: tuple[int, int], quality: float
) -> None:
    from basicsr.utils.diffjpeg import DiffJPEG

    image = crop(photo_3HW, size)
    with torch.no_grad():
        expected = DiffJPEG(differentiable=False)(image[None], quality=torch.tensor([quality]))[0]
    assert ((jpeg(image, quality) - expected).abs() <= 1 / 255).float().mean() >= 0.99


@sizes
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(("kind", "strength"), [("gaussian", 20.0), ("poisson", 1.7)])
def test_noise_of_the_same_field_equals_basicsr_s(
    basicsr: None, photo_3HW: Tensor, size: tuple[int, int], kind: str, strength: float, gray: bool
) -> None:
    from basicsr.data import degradations

    image = crop(photo_3HW, size)
    add = add_gaussian if kind == "gaussian" else add_poisson
    found = add(image, strength, gray, torch.Generator().manual_seed(SEED)).clamp(0, 1)
    torch.manual_seed(SEED)  # the first numbers that basicsr draws are those of the noise that it uses
    expected = getattr(degradations, f"add_{kind}_noise_pt")(image[None], strength, gray_noise=float(gray))[0]
    assert (found - image).abs().mean() > 0.01 and largest(found, expected) < LIMIT


@pytest.fixture(scope="module")
def ours() -> list[Plan]:
    rng = np.random.default_rng(SEED)
    return [plan_of(draw(CONFIG, rng)) for _ in range(DRAWS)]


@pytest.fixture(scope="module")
def theirs(basicsr: None) -> list[Plan]:
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    return [draw_plan(CONFIG, 1) for _ in range(DRAWS)]


def moments(kernel_1kk: Tensor | None) -> list[float]:
    """Variances along x and y, covariance [px^2], and the tap in the middle, without their rounding errors."""
    if kernel_1kk is None:
        return [0.0, 0.0, 0.0, 1.0]
    side = kernel_1kk.shape[-1]
    line = torch.arange(side) - side // 2
    y, x = line[:, None], line[None, :]
    kernel = kernel_1kk[0]
    means = [(kernel * weight).sum() for weight in (x * x, y * y, x * y)]
    return [round(number.item(), 4) for number in (*means, kernel[side // 2, side // 2])]


def assert_same_numbers(ours: list[Plan], theirs: list[Plan], numbers: Callable[[Plan], list[float]]) -> None:
    samples = [[number for plan in plans for number in numbers(plan)] for plans in (ours, theirs)]
    assert min(map(len, samples)) > 300 and stats.ks_2samp(*samples, method="asymp").pvalue > 0.01


def assert_same_choices(ours: list[Plan], theirs: list[Plan], choice: Callable[[Plan], object]) -> None:
    counts = [Counter(map(choice, plans)) for plans in (ours, theirs)]
    assert counts[0].keys() == counts[1].keys() and len(counts[0]) > 1
    assert stats.chi2_contingency([[count[key] for key in counts[0]] for count in counts]).pvalue > 0.01


@pytest.mark.parametrize("name", ["blur1_Bkk", "blur2_Bkk", "sinc_Bkk"])
@pytest.mark.parametrize("moment", range(4))
def test_kernels_are_drawn_as_basicsr_draws_them(ours: list[Plan], theirs: list[Plan], name: str, moment: int) -> None:
    assert_same_numbers(ours, theirs, lambda plan: [moments(getattr(plan, name))[moment]])


@pytest.mark.parametrize("name", ["resize1", "resize2"])
def test_resizes_are_drawn_as_basicsr_draws_them(ours: list[Plan], theirs: list[Plan], name: str) -> None:
    def factor(plan: Plan) -> float:
        found: float = getattr(plan, name).factor
        return found

    assert_same_choices(ours, theirs, lambda plan: getattr(plan, name).mode)
    assert_same_choices(ours, theirs, lambda plan: (factor(plan) > 1, factor(plan) < 1))
    assert_same_numbers(ours, theirs, lambda plan: [factor(plan)] if factor(plan) > 1 else [])
    assert_same_numbers(ours, theirs, lambda plan: [factor(plan)] if factor(plan) < 1 else [])


@pytest.mark.parametrize("name", ["noise1", "noise2"])
def test_noise_is_drawn_as_basicsr_draws_it(ours: list[Plan], theirs: list[Plan], name: str) -> None:
    def strength(plan: Plan, kind: str) -> list[float]:
        noise = getattr(plan, name)
        return noise.strength_B.tolist() if noise.kind == kind else []

    assert_same_choices(ours, theirs, lambda plan: getattr(plan, name).kind)
    assert_same_choices(ours, theirs, lambda plan: getattr(plan, name).gray_B.item())
    for kind in ("gaussian", "poisson"):
        assert_same_numbers(ours, theirs, lambda plan, kind=kind: strength(plan, kind))  # type: ignore[misc]


@pytest.mark.parametrize("name", ["quality1_B", "quality2_B"])
def test_qualities_are_drawn_as_basicsr_draws_them(ours: list[Plan], theirs: list[Plan], name: str) -> None:
    assert_same_numbers(ours, theirs, lambda plan: getattr(plan, name).tolist())


def test_order_and_skipped_steps_are_drawn_as_basicsr_draws_them(ours: list[Plan], theirs: list[Plan]) -> None:
    assert_same_choices(ours, theirs, lambda plan: plan.sinc_first)
    assert_same_choices(ours, theirs, lambda plan: plan.final_mode)
    assert_same_choices(ours, theirs, lambda plan: moments(plan.blur2_Bkk)[3] == 1)
    assert_same_choices(ours, theirs, lambda plan: moments(plan.sinc_Bkk)[3] == 1)


def differences(photos: list[Path], draws: int, side: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """PSNR of our LQ images, enlarged, minus that of basicsr's with the same numbers and its own noise field [dB]."""
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    reference = BasicsrPipeline()
    found = []
    for path in photos:
        photo_3HW = read_image(path)
        for _ in range(draws):
            top, left = (int(rng.integers(length - side + 1)) for length in photo_3HW.shape[1:])
            hq_3HW = photo_3HW[:, top : top + side, left : left + side].contiguous()
            degradation = draw(CONFIG, rng)
            found.append(
                psnr(apply(hq_3HW, degradation, 4), hq_3HW) - psnr(reference.repeat(hq_3HW, degradation, 4), hq_3HW)
            )
    return np.array(found)


def psnr(lq_3hw: Tensor, hq_3HW: Tensor) -> float:
    enlarged = F.interpolate(lq_3hw[None], size=hq_3HW.shape[1:], mode="bicubic").clamp(0, 1)[0]
    return -10 * math.log10((enlarged - hq_3HW).square().mean().item())


def assert_same_psnr(found: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    error = found.std(ddof=1) / math.sqrt(len(found))
    print(f"PSNR differs by {found.mean():+.4f} dB, standard error {error:.4f}, {len(found)} crops")
    assert abs(found.mean()) < 0.15 and 0 < error < 0.05


def test_psnr_of_degraded_photographs_is_that_of_basicsr(basicsr: None) -> None:
    assert_same_psnr(differences(photos(), draws=3, side=128))


@pytest.mark.slow
def test_psnr_of_two_hundred_degraded_photographs_is_that_of_basicsr(basicsr: None, shared: Path) -> None:
    paths = sorted((shared / "bsds500" / "test").glob("*.jpg"))
    assert len(paths) == 200
    assert_same_psnr(differences(paths, draws=4, side=192))
