"""Restoring squares and photographs: any size in, the scaled size out, no seams, names decide the noise."""

import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from lit_pure.config.compose import PROJECT
from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.config.experiment import ColorFix, RestoringConfig
from lit_pure.config.pure import BackboneConfig, SamplingConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.datasets.sources import find_photos
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.files.names import number_of
from lit_pure.images.io import from_bytes, to_bytes
from lit_pure.images.tiles import Cover
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer

VOCABULARY = make_vocabulary(["Medium blur, small noise."] * 3, codes=40, words=280)
SIZE, SCALE = 64, 4


class Echo(VQTokenizer):
    """Restores each square to itself, in a brightness of its own: the model of a model whose tiles disagree."""

    shift = 0.0

    def encode(self, image_B3HW: Tensor) -> Tensor:
        self.seen_B3HW = image_B3HW
        return super().encode(image_B3HW)

    def decode(self, codes_Bhw: Tensor, photo_B3HW: Tensor | None = None, fidelity: float = 0.0) -> Tensor:
        places_hw = torch.arange(codes_Bhw[0].numel()).view_as(codes_Bhw[0])
        generators = (torch.Generator().manual_seed(int((codes_hw * places_hw).sum())) for codes_hw in codes_Bhw)
        drawn_B311 = torch.stack([torch.rand(3, 1, 1, generator=generator) for generator in generators])
        return (self.seen_B3HW + self.shift * (2 * drawn_B311 - 1)).clamp(0, 1)


def make(
    restoring: RestoringConfig | None = None, tokenizer: type[VQTokenizer] = VQTokenizer, text_length: int = 0
) -> Restorer:
    torch.manual_seed(0)
    vq = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=40)
    backbone = NextTokenBackbone(BackboneConfig(width=32, layers=1, heads=2, ffn=32), VOCABULARY.size)
    frozen = tokenizer(vq).requires_grad_(False).eval()
    assembler = Assembler(VOCABULARY, "perception", 8, 20, text_length)
    return Restorer(frozen, backbone, assembler, SamplingConfig(max_text=5), SIZE, SCALE, restoring)


def texture(height: int, width: int) -> Tensor:
    """(3, height, width) that looks alike everywhere."""
    noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))
    return (0.5 + 0.15 * noise).clamp(0.1, 0.9)


def enlarged(photo_3hw: Tensor, scale: int) -> Tensor:
    size = [side * scale for side in photo_3hw.shape[-2:]]
    return torch.nn.functional.interpolate(photo_3hw[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    made = make()
    made.backbone.train()  # restoring must not depend on it
    return made


@pytest.mark.parametrize(
    ("shape", "scale", "cells", "tiles"),
    [
        ((16, 16), None, (8, 8), 1),
        ((9, 14), None, (5, 7), 1),
        ((48, 24), None, (24, 12), 8),
        ((8, 100), None, (4, 50), 7),
        ((70, 33), 1, (9, 5), 2),
        ((23, 27), 3, (9, 11), 4),
        ((8, 9), 16, (16, 18), 9),
    ],
)
def test_a_photo_of_any_size_comes_back_scaled(
    restorer: Restorer, shape: tuple[int, int], scale: int | None, cells: tuple[int, int], tiles: int
) -> None:
    restored = restorer.restore_photo(torch.rand(3, *shape), "a", scale)
    assert restored.pixels_3HW.shape == (3, *(side * (scale or SCALE) for side in shape))
    assert restored.pixels_3HW.dtype == torch.uint8
    assert {one.values_hw.shape for one in restored.maps.values()} == {cells}
    assert restored.maps["entropy"].values_hw.isfinite().all() and len(restored.tiles) == tiles
    assert restored.tokens >= tiles * (8 * 9 + 4) and restored.seconds > 0
    assert {(tile.height, tile.width) for tile in restored.tiles} == {
        tuple(min(SIZE, side) for side in restored.pixels_3HW.shape[-2:])
    }


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(16, 16), (9, 13), (40, 70)])
def test_tiles_lie_where_they_belong(scale: int, shape: tuple[int, int]) -> None:
    """With a model that gives back what it gets, the whole is torch's enlargement of the whole."""
    photo_3hw = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    restored = make(RestoringConfig(batch=3), Echo).restore_photo(photo_3hw, "a", scale)
    difference = restored.pixels_3HW.int() - to_bytes(enlarged(photo_3hw, scale)).int()
    assert difference.abs().max() <= 1 and difference.ne(0).float().mean() < 0.01, "one level where halves are rounded"


def seams(pixels_3HW: Tensor, overlap: float) -> np.ndarray:
    """How much neighbours differ where tiles begin, meet and end, in both directions [of what all neighbours do]."""
    found = []
    for dim in (1, 2):
        starts = Cover(pixels_3HW.shape[dim], SIZE, int(SIZE * overlap)).starts
        steps = from_bytes(pixels_3HW).diff(dim=dim).abs().mean([0, 3 - dim])
        begin, end = [b - 1 for b in starts[1:]], [a + SIZE - 1 for a in starts[:-1]]
        meet = [(a + b + SIZE) // 2 - 1 for a, b in pairwise(starts)]
        found += [float(steps[places].mean() / steps.mean()) for places in (begin, meet, end)]
    return np.array(found)


def visible_seams(photo_3hw: Tensor, overlap: float, color_fix: ColorFix = "none") -> float:
    """The worst of `seams` beside those of the same lines where no tiles were, when tiles disagree by up to 0.1."""
    restorer = make(RestoringConfig(overlap=overlap, color_fix=color_fix), Echo)
    assert isinstance(restorer.tokenizer, Echo)
    restorer.tokenizer.shift = 0.05
    restored = restorer.restore_photo(photo_3hw, "a")
    assert len(restored.tiles) > 20
    return float((seams(restored.pixels_3HW, overlap) / seams(to_bytes(enlarged(photo_3hw, SCALE)), overlap)).max())


def test_tiles_that_disagree_show_no_seams() -> None:
    photo_3hw = texture(90, 110)
    assert visible_seams(photo_3hw, overlap=0.125) < 1.05
    assert visible_seams(photo_3hw, overlap=0.125, color_fix="wavelet") < 1.02
    assert visible_seams(photo_3hw, overlap=0.0) > 1.2, "hard cuts are seen"


def test_real_photographs_show_no_seams() -> None:
    for photo in find_photos(PhotosConfig(source=SKIMAGE, names=["chelsea", "coffee"]), least_side=SIZE).found:
        photo_3hw = from_bytes(photo.read())[:, ::3, ::3][:, :96, :128]
        assert visible_seams(photo_3hw, overlap=0.125, color_fix="wavelet") < 1.05
        assert visible_seams(photo_3hw, overlap=0.0) > 1.2


def test_the_color_fixes_bring_colours_nearer_to_the_photograph(restorer: Restorer) -> None:
    """By scipy's Gaussian, not by our own low-pass."""
    photo_3hw = torch.nn.functional.interpolate(texture(6, 7)[None], (40, 50), mode="bilinear")[0]
    wanted = ndimage.gaussian_filter(enlarged(photo_3hw, SCALE).numpy(), (0, 20, 20))
    errors = {}
    for method in ("none", "wavelet", "adain"):
        pixels = from_bytes(restorer.restore_photo(photo_3hw, "a", color_fix=method).pixels_3HW).numpy()
        errors[method] = np.abs(ndimage.gaussian_filter(pixels, (0, 20, 20)) - wanted).mean()
    assert errors["wavelet"] < 0.2 * errors["none"] and errors["adain"] < 0.7 * errors["none"]


def test_the_configured_color_fix_is_that_of_squares_too() -> None:
    lq_B3hw = texture(16, 16)[None]
    plain, fixed = (make(RestoringConfig(color_fix=fix)).restore(lq_B3hw, ["a"])[0] for fix in ("none", "adain"))
    means = fixed.image_3HW.mean((1, 2)), enlarged(lq_B3hw[0], SCALE).mean((1, 2))
    torch.testing.assert_close(*means, atol=0.02, rtol=0)
    assert not torch.equal(plain.image_3HW, fixed.image_3HW)
    assert torch.equal(plain.maps["entropy"].values_hw, fixed.maps["entropy"].values_hw)


def test_fewer_wavelet_levels_bring_the_picture_nearer_to_its_source() -> None:
    lq_3hw = texture(16, 16)
    distances = []
    for levels in (1, 3, 5):
        restoring = RestoringConfig(color_fix="wavelet", wavelet_levels=levels)
        [square] = make(restoring).restore(lq_3hw[None], ["a"])
        distances.append(float((square.image_3HW - enlarged(lq_3hw, SCALE)).abs().mean()))
    assert distances == sorted(distances) and distances[0] < 0.8 * distances[-1]


def test_a_photo_of_one_square_is_what_restore_makes_of_it(restorer: Restorer) -> None:
    photo_3hw = texture(16, 16)
    square, whole = restorer.restore(photo_3hw[None], ["a"])[0], restorer.restore_photo(photo_3hw, "a")
    assert torch.equal(to_bytes(square.image_3HW), whole.pixels_3HW)
    assert square.words == whole.words and square.words.keys() == {"text", "blur", "noise", "caption"}
    torch.testing.assert_close(square.maps["entropy"].values_hw, whole.maps["entropy"].values_hw)
    assert torch.equal(square.maps["k"].values_hw.float(), whole.maps["k"].values_hw)


def test_the_name_decides_the_noise_and_dropout_is_off(restorer: Restorer) -> None:
    for shape in ((16, 16), (16, 40)):
        photo = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
        first, again, other = (restorer.restore_photo(photo, name).pixels_3HW for name in ("a", "a", "b"))
        assert torch.equal(first, again) and not torch.equal(first, other)
    assert restorer.backbone.training, "left as it was"
    assert number_of("a") == 0xE8B7BE43, "CRC-32, the same on every machine"


def test_tiles_draw_noise_of_their_own_whatever_the_batch() -> None:
    photo = torch.full((3, 16, 50), 0.5)
    alone, together = (make(RestoringConfig(batch=batch)).restore_photo(photo, "a") for batch in (1, 8))
    assert (alone.pixels_3HW.int() - together.pixels_3HW.int()).abs().max() <= 1, "convolutions round differently"
    torch.testing.assert_close(alone.maps["entropy"].values_hw, together.maps["entropy"].values_hw, atol=1e-4, rtol=0)
    first, second = (alone.maps["entropy"].values_hw[:, start : start + 4] for start in (0, 21))
    assert len(alone.tiles) == 4 and not torch.equal(first, second), "equal squares, other noise"


class Progress:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.plans: list[int] = []
        self.made = 0
        self.size: tuple[int, int, int] | None = None

    def begin(self, height: int, width: int, squares: int) -> None:
        self.size = height, width, squares

    def plan(self, tokens: int) -> None:
        self.plans.append(tokens)

    def __call__(self, made: int) -> None:
        self.made += made


def test_progress_is_planned_and_ends_where_it_was_planned() -> None:
    told = Progress()
    restored = make(RestoringConfig(batch=2)).restore_photo(texture(30, 50), "a", progress=told)
    assert told.size == (*restored.pixels_3HW.shape[1:], 8)
    assert len(restored.tiles) == 8 and len(told.plans) == 5, "one plan at first, one after each batch"
    assert told.plans[0] == 8 * (8 * 9 + 4), "before anything is said, the pictures alone"
    assert told.made == told.plans[-1] == restored.tokens
    assert told.plans[1] == pytest.approx(restored.tokens, rel=0.05)


def test_a_scale_below_one_is_refused(restorer: Restorer) -> None:
    with pytest.raises(ValueError, match="scale 0"):
        restorer.restore_photo(texture(16, 16), "a", 0)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ((texture(16, 16) * 255).byte(), "from_bytes"),
        (texture(16, 16) * 255, "divide them by 255"),
        (texture(16, 16)[None], r"give one picture of the batch: images\[0\]"),
        (texture(16, 16)[:1], "repeat grey three times"),
        (texture(16, 16) / 0, "NaN"),
    ],
)
def test_a_photograph_that_is_not_rgb_in_0_to_1_is_refused(restorer: Restorer, wrong: Tensor, remedy: str) -> None:
    with pytest.raises(ValueError, match=f"photograph: .*{remedy}"):
        restorer.restore_photo(wrong, "a")


def test_pictures_of_a_batch_are_checked_and_each_needs_a_name(restorer: Restorer) -> None:
    with pytest.raises(ValueError, match=r"LQ pictures: .*image\[None\]"):
        restorer.restore(texture(16, 16), ["a"])
    with pytest.raises(ValueError, match="1 names for 2 images"):
        restorer.restore(texture(16, 16).expand(2, -1, -1, -1), ["a"])


MEMORY = """
import resource, torch
from tests.families.pure.test_restorer import Echo, make, texture
from lit_pure.families.pure.sampling.decode import Decoded
restorer = make(tokenizer=Echo)
restorer.size = 256
codes = torch.zeros(8, 32, 32, dtype=torch.long)
def answer(codes_Bhw, names, progress, given):
    some = codes[: len(names)]
    return Decoded([[] for _ in names], some, some.float(), some, 1, 1, 1.0)
restorer.answer = answer
for width in (500, 1000):
    restorer.restore_photo(texture(700, width), "a")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_is_bounded_by_the_tile() -> None:
    """Twice the area, 2,800 x 4,000 px, takes the 17 MB of its own 8 bits and a wider strip."""
    done = subprocess.run([sys.executable, "-c", MEMORY], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    small, large = map(int, done.stdout.split())
    assert large < 1.1 * small
    float_picture = 4 * 3 * 2800 * 2000  # what twice the area would take at least, if it ever were one of floats
    assert large - small < 0.7 * float_picture


def test_a_folder_that_is_no_restorer_is_named(restorer: Restorer, tmp_path: Path) -> None:
    restorer.save_pretrained(tmp_path)
    whole = (tmp_path / "backbone" / "model.safetensors").read_bytes()
    (tmp_path / "backbone" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"backbone/model.safetensors cannot be read .*; make the run again"):
        Restorer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="kind 'pure', not 'restorer'"):
        Restorer.from_pretrained(tmp_path / "backbone")
    with pytest.raises(ValueError, match="not seed"):
        Restorer.from_pretrained(tmp_path, seed=3)


def test_a_name_has_one_number_however_its_letters_are_composed_and_whatever_its_bytes() -> None:
    assert number_of("caf\u00e9") == number_of("cafe\u0301") == zlib.crc32("caf\u00e9".encode())
    assert number_of("caf\udce9") == zlib.crc32(b"caf\xe9")
