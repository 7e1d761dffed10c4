"""Decoding by scales: recorded decodings and a plain loop as oracles; prefill, batch and cache change nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lit_pure.bench.scale_loop import decode_by_loop
from lit_pure.config.next_scale import ScaleSamplingConfig
from lit_pure.families.nsarm.bits import BitNoise
from lit_pure.families.nsarm.scales import ScaleCodes, decode_scales, guided_layer
from lit_pure.models.packed_text import PackedText
from tests.families.nsarm.codes import FRAME, GRIDS, TINY, SumOfCodes, captions, tiny
from tests.golden import golden, grids_of, tensor
from tests.models.published import RATIOS, published_transformer

CPU = torch.device("cpu")
CODES: ScaleCodes = SumOfCodes(GRIDS, TINY.bits)
SETTINGS = {
    "unguided": ScaleSamplingConfig(),
    "on the logits, by scale": ScaleSamplingConfig(tau=[1.0, 0.5, 0.5, 0.7], guidance=[3.0, 3.0, 1.0, 1.5]),
    "after the last block": ScaleSamplingConfig(guidance=[3.0], guidance_layer=-1),
    "inside, by scale": ScaleSamplingConfig(guidance=[2.0, 1.0, 3.0, 1.5], guidance_layer=-2),
}
every_setting = pytest.mark.parametrize("setting", SETTINGS)
PATCHES = {"transformer_d8_r1.0": 1, "transformer_d2patch_r1.25": 2}


@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.parametrize("setting", ["cfg1", "cfg3_logits", "cfg3_layer", "cfg1_area"])
@pytest.mark.parametrize("known", [0, 1, 3])
def test_recorded_decodings(name: str, setting: str, known: int) -> None:
    """Also where the first scales are given: what follows is the same."""
    values = golden(f"d_{name}")
    transformer, grids, patch = published_transformer(values), grids_of(values["schedule"]), PATCHES[name]
    codes = SumOfCodes(grids, transformer.config.bits // patch**2, patch, area=setting == "cfg1_area")
    first = int(values["text_lens"][0])
    config = ScaleSamplingConfig(
        tau=values[f"{setting}/tau"].tolist(),
        guidance=values[f"{setting}/cfg"].tolist(),
        guidance_layer=int(values[f"{setting}/cfg_layer"][0]),
    )
    bits = [torch.from_numpy(values[f"{setting}/bits_{scale + 1}"]) for scale in range(len(grids))]
    found = decode_scales(
        transformer, codes, PackedText(tensor(values["text"])[:first], (first,)), grids, RATIOS[name], config,
        lambda scale, *_: tensor(values[f"{setting}/uniform_{scale + 1}"]), bits[:known], keep_logits=True,
    )  # fmt: skip
    assert found.passes == len(grids) - known
    for scale in range(len(grids)):
        assert torch.equal(found.bits[scale], bits[scale].bool())
        logits = found.logits[scale]
        if logits is not None:
            assert np.abs(logits.numpy() - values[f"{setting}/logits_{scale + 1}"]).max() <= 3.5e-4
    assert np.abs(found.sum_BdHW.numpy() - values[f"{setting}/Fhat"]).max() <= 5e-6


@every_setting
@pytest.mark.parametrize("known", [0, 1, 3, 4])
def test_one_prefill_of_known_scales_equals_a_pass_for_each(setting: str, known: int) -> None:
    transformer, text, noise = tiny(), captions(5, 3), BitNoise(0, [7, 8], CPU)
    config = SETTINGS[setting]
    given = [torch.randint(2, (2, rows * columns, TINY.bits)) for rows, columns in GRIDS[:known]]
    found = decode_scales(transformer, CODES, text, GRIDS, FRAME, config, noise, given, keep_logits=True)
    expected = decode_by_loop(transformer, CODES, text, GRIDS, FRAME, config, noise, given)
    assert [found.passes, expected.passes] == [len(GRIDS) - known, len(GRIDS)]
    for one, other in zip(found.bits, expected.bits, strict=True):
        assert torch.equal(one, other)
    for logits, other in zip(found.logits[known:], expected.logits[known:], strict=True):
        assert logits is not None and other is not None
        assert float((logits - other).abs().max()) <= 1e-4
    assert torch.allclose(found.sum_BdHW, expected.sum_BdHW, atol=1e-6)
    assert found.tokens == 2 * sum(rows * columns for rows, columns in GRIDS[known:])


def test_nsarm_at_1024_takes_6_passes_instead_of_13() -> None:
    sides = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    config = replace(TINY, width=8, layers=1, heads=1, ffn=8, levels=15)
    grids = [(side, 1) if side == 1 else (2, side) for side in sides]
    known = [torch.zeros(1, rows * columns, TINY.bits) for rows, columns in grids[:7]]
    args = (tiny(config), SumOfCodes(grids, TINY.bits), captions(2), grids, (2, 13), ScaleSamplingConfig())
    noise = BitNoise(0, [0], CPU)
    assert decode_scales(*args, noise, known).passes == 6
    assert decode_by_loop(*args, noise, known).passes == 13


def test_tokens_may_be_patches_of_codes() -> None:
    codes: ScaleCodes = SumOfCodes(GRIDS, 2, patch=2)
    args = (tiny(replace(TINY, bits=8)), codes, captions(3), GRIDS, FRAME, ScaleSamplingConfig())
    found, expected = (decode(*args, BitNoise(0, [5], CPU)) for decode in (decode_scales, decode_by_loop))
    assert all(torch.equal(one, other) for one, other in zip(found.bits, expected.bits, strict=True))
    assert found.sum_BdHW.shape == (1, 2, 10, 8)


@every_setting
def test_a_batch_gives_what_its_pictures_give_alone(setting: str) -> None:
    transformer, config, texts = tiny(), SETTINGS[setting], [captions(5), captions(2), captions(9)]
    images = [4, 0, 11]
    together = PackedText.of([text.tokens_NW for text in texts])
    all_bits = decode_scales(transformer, CODES, together, GRIDS, FRAME, config, BitNoise(3, images, CPU)).bits
    for row, (text, image) in enumerate(zip(texts, images, strict=True)):
        alone = decode_scales(transformer, CODES, text, GRIDS, FRAME, config, BitNoise(3, [image], CPU)).bits
        assert all(torch.equal(bits[row], own[0]) for bits, own in zip(all_bits, alone, strict=True))


def test_what_is_drawn_after_known_scales_does_not_depend_on_their_number() -> None:
    transformer, text, noise = tiny(), captions(4), BitNoise(0, [2], CPU)
    args = (transformer, CODES, text, GRIDS, FRAME, ScaleSamplingConfig(), noise)
    whole = decode_scales(*args).bits
    for known in range(1, len(GRIDS)):
        again = decode_scales(*args, known=whole[:known]).bits
        assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


def test_a_transformer_in_bfloat16_decodes_with_sums_in_float32() -> None:
    args = (tiny().bfloat16(), CODES, captions(3), GRIDS, FRAME, SETTINGS["on the logits, by scale"])
    known = [torch.ones(1, 1, TINY.bits)]
    found = decode_scales(*args, BitNoise(0, [0], CPU), known, keep_logits=True)
    assert found.sum_BdHW.dtype == torch.float32 and found.passes == 3
    assert all(logits is None or logits.dtype == torch.float32 for logits in found.logits)


def test_progress_counts_drawn_tokens() -> None:
    seen: list[int] = []
    known = [torch.ones(1, 1, TINY.bits)]
    args = (tiny(), CODES, captions(3), GRIDS, FRAME, ScaleSamplingConfig(), BitNoise(0, [0], CPU), known)
    found = decode_scales(*args, progress=seen.append)
    assert seen == [4, 6, 20] and found.tokens == 30


def test_what_does_not_fit_is_refused() -> None:
    transformer, text, noise = tiny(), captions(3), BitNoise(0, [0], CPU)
    args = (transformer, CODES, text, GRIDS, FRAME)
    with pytest.raises(ValueError, match="tau has 3 values for 4 scales"):
        decode_scales(*args, ScaleSamplingConfig(tau=[1.0, 1.0, 1.0]), noise)
    with pytest.raises(ValueError, match="known bits of shapes"):
        decode_scales(*args, ScaleSamplingConfig(), noise, [torch.zeros(1, 2, TINY.bits)])
    with pytest.raises(ValueError, match="names none of 3 blocks"):
        guided_layer(-4, 3)
    with pytest.raises(ValueError, match="cut captions to 9 tokens"):
        decode_scales(transformer, CODES, captions(10), GRIDS, FRAME, ScaleSamplingConfig(), noise)
