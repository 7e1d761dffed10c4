"""Restoring: any shape in, the scaled shape out; names decide the noise; files that share a stem."""

from pathlib import Path

import pytest
import torch

from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.models import BackboneConfig, SamplingConfig, VQConfig
from lit_pure.images.io import read_image, write_png
from lit_pure.restore import Restorer, bicubic, image_number
from lit_pure.restore_folder import photographs, restore_files
from lit_pure.sequence.assemble import Assembler
from lit_pure.tokens.text import make_vocabulary
from lit_pure.tokens.vq import VQTokenizer

VOCABULARY = make_vocabulary(["Medium blur, small noise."] * 3, codes=40, words=280)


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    torch.manual_seed(0)
    vq = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=40)
    backbone = NextTokenBackbone(BackboneConfig(width=32, layers=1, heads=2, ffn=32), VOCABULARY.size)
    backbone.train()  # restoring must not depend on it
    assembler = Assembler(VOCABULARY, "perception", 8, 20)
    tokenizer = VQTokenizer(vq).requires_grad_(False).eval()
    return Restorer(tokenizer, backbone, assembler, SamplingConfig(max_text=5), size=64, scale=4)


@pytest.mark.parametrize(
    ("shape", "expected", "cells"),
    [
        ((16, 16), (64, 64), (8, 8)),
        ((9, 14), (36, 56), (5, 7)),
        ((48, 24), (64, 32), (8, 4)),
        ((8, 400), (4, 64), (1, 8)),
    ],
)
def test_a_photo_of_any_shape_comes_back_scaled(
    restorer: Restorer, shape: tuple[int, int], expected: tuple[int, int], cells: tuple[int, int]
) -> None:
    restored = restorer.restore_photo(torch.rand(3, *shape), "a")
    assert restored.image_3HW.shape == (3, *expected)
    assert restored.entropy_hw.shape == restored.k_hw.shape == cells
    assert 0 <= float(restored.image_3HW.min()) and float(restored.image_3HW.max()) <= 1
    assert restored.tokens_per_second > 0


def test_the_name_decides_the_noise_and_dropout_is_off(restorer: Restorer) -> None:
    photo = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    first, again, other = (restorer.restore_photo(photo, name).image_3HW for name in ("a", "a", "b"))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert restorer.backbone.training, "left as it was"
    assert image_number("a") == 0xE8B7BE43, "CRC-32, the same on every machine"


def test_bicubic_is_torch_s(restorer: Restorer) -> None:
    lq = torch.rand(2, 3, 16, 16)
    expected = torch.nn.functional.interpolate(lq, (64, 64), mode="bicubic", antialias=True).clamp(0, 1)
    assert torch.equal(bicubic(lq, 64), expected)


def test_files_that_share_a_stem_do_not_overwrite_each_other(restorer: Restorer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        write_png(tmp_path / "in" / name, torch.rand(3, 16, 16))
    (tmp_path / "in" / "a.bmp").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    paths = photographs([tmp_path / "in"])
    outcomes = list(restore_files(restorer, paths, tmp_path / "out", lambda path: lambda count: None))
    names = sorted(outcome.picture.name for outcome in outcomes if outcome.picture)
    assert names == ["a.bmp.png", "a.png.png", "b.png"]
    assert read_image(tmp_path / "out" / "b.png").shape == (3, 64, 64)


def test_absent_files_are_named_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file: .*absent\.png"):
        photographs([tmp_path / "absent.png"])
