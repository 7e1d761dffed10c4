"""NSARM's restorer: any size in, the scaled size out, noise by name, and what each kind of network makes."""

import math
from pathlib import Path

import pytest
import torch

from lit_pure.config.compose import ConfigError
from lit_pure.families.nsarm.network import load_network, save_network
from lit_pure.families.nsarm.prefix import TokenCodes
from lit_pure.families.nsarm.restorer import bit_entropy
from lit_pure.families.nsarm.schedule import schedule_of
from lit_pure.images.geometry import resize
from lit_pure.models import bsq
from tests.families.nsarm.small import SIZES, batch, experiment, restorer

LQ = batch()["lq_B3hw"]


def test_a_correction_that_was_not_trained_restores_what_the_lq_prefix_does() -> None:
    network, lq = restorer("stage=stage2"), restorer("stage=stage2", "prefix.source=lq")
    for one, other in zip(network.restore(LQ, ["a", "b"]), lq.restore(LQ, ["a", "b"]), strict=True):
        assert torch.equal(one.image_3HW, other.image_3HW)
        assert one.tokens == 16 + 64 and one.passes == 2, "the prefix and the first drawn scale are one pass"


def test_a_square_is_the_same_in_any_batch_and_its_noise_follows_its_name() -> None:
    made = restorer("stage=stage2")
    together = made.restore(LQ, ["a", "b"])
    (alone,) = made.restore(LQ[1:], ["b"])
    torch.testing.assert_close(together[1].image_3HW, alone.image_3HW, rtol=0, atol=1e-5)
    (other,) = made.restore(LQ[1:], ["c"])
    assert not torch.equal(other.image_3HW, alone.image_3HW)


def test_without_a_transformer_the_prefix_is_all_of_the_picture() -> None:
    made = restorer("stage=stage1")
    enlarged = resize(LQ, 32, 32)
    bits = [each > 0 for each in made.prefix(enlarged)]
    found = made.restore(LQ, ["a", "b"])
    wanted = made.tokenizer.decode_bits(bits, (8, 8))
    torch.testing.assert_close(torch.stack([one.image_3HW for one in found]), wanted)
    assert found[0].tokens == made.expected_tokens == 0 and not found[0].maps
    torch.testing.assert_close(made.prefix_alone(made.prefix(enlarged)), wanted)


@pytest.mark.parametrize("sides", [(8, 8), (5, 8), (13, 21), (1, 1), (2, 60), (61, 3)])
def test_photographs_of_any_size_are_restored_with_a_map(sides: tuple[int, int]) -> None:
    made = restorer("stage=stage2")
    photo = torch.rand(3, *sides, generator=torch.Generator().manual_seed(0))
    found = made.restore_photo(photo, "a")
    assert tuple(found.pixels_3HW.shape) == (3, 4 * sides[0], 4 * sides[1])
    assert set(found.maps) == {"entropy"}


def test_what_pads_a_square_is_not_in_its_map() -> None:
    made = restorer("stage=stage2")
    enlarged = resize(LQ, 32, 32)
    (one, _) = made.restore_squares(enlarged, ["a", "b"], color_fix="none", shown=(20, 9))
    assert tuple(one.image_3HW.shape) == (3, 20, 9)
    assert tuple(one.maps["entropy"].values_hw.shape) == (5, 3) and one.maps["entropy"].highest == math.log(2)


def test_captions_are_given_or_fixed_or_described() -> None:
    made = restorer("stage=stage2")
    enlarged = resize(LQ, 32, 32)
    assert made.captions(enlarged)[0].startswith("A ") and len(set(made.captions(enlarged))) == 2
    fixed = restorer("stage=stage2", "caption.lq=fixed", "caption.text=Nice.")
    assert fixed.captions(enlarged) == ["Nice.", "Nice."]
    told = made.restore_squares(enlarged, ["a", "b"], color_fix="none", given=["A cat.", "A dog."])
    assert [one.words for one in told] == [{"caption": "A cat."}, {"caption": "A dog."}]
    assert "text" not in made.settings()["caption"] and fixed.settings()["caption"]["text"] == "Nice."


def test_a_caption_of_two_thousand_words_counts_as_far_as_the_text_reaches() -> None:
    made, enlarged = restorer("stage=stage2"), resize(LQ, 32, 32)
    words = [f"word{number}" for number in range(2000)]
    long, cut, short = (" ".join(words[:count]) for count in (2000, 6, 5))
    found = [made.restore_squares(enlarged, "ab", color_fix="none", given=[one] * 2) for one in (long, cut)]
    assert torch.equal(found[0][0].image_3HW, found[1][0].image_3HW)
    counts = [made.text([one], torch.device("cpu")).lengths for one in (long, short)]
    assert counts == [(6,), (6,)], "the end counts"


def test_bits_become_sums_and_inputs_as_in_training() -> None:
    """The path of labels through the decoder's protocol is that of `encode_scales`."""
    config = type(SIZES)(**{**vars(SIZES), "patch": 2, "sides": [1, 2, 4]})
    schedule = schedule_of(experiment("data.size=32"), config)
    features = torch.randn(2, 4, *schedule.cells[-1])
    found = bsq.encode_scales(features, schedule.cells)
    codes, total = TokenCodes(config, schedule, "area"), torch.zeros(())
    for scale, bits in enumerate(found.bits_BDhw):
        before = codes.begin(2, torch.device("cpu")) if scale == 0 else total
        total = codes.add(before, bsq.patchify(bits.float(), 2), scale)
        assert torch.equal(total, found.sums_BDHW[scale])
    fed = torch.cat([codes.inputs(found.sums_BDHW[scale - 1], scale) for scale in range(1, 3)], 1)
    assert torch.equal(fed, bsq.inputs(found.sums_BDHW, schedule.cells, 2, "area"))


def test_entropy_of_a_bit() -> None:
    even, sure = torch.zeros(1, 1, 1, 2), torch.tensor([[[[30.0, -30.0]]]])
    assert bit_entropy(even).item() == pytest.approx(math.log(2)) and bit_entropy(sure).item() < 1e-6


@pytest.mark.parametrize("stage", ["pretrain", "stage1", "stage2"])
def test_weights_are_read_as_they_were_written(stage: str, tmp_path: Path) -> None:
    network = restorer(f"stage={stage}").network
    save_network(tmp_path, network)
    found = load_network(tmp_path)
    assert found.config == network.config and not any(item.requires_grad for item in found.parameters())
    for (name, one), (other_name, other) in zip(found.state_dict().items(), network.state_dict().items(), strict=True):
        assert name == other_name and torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["data.size=40"], "data.size"),
        (["data.size=32", "data.degradation.scale=16"], "cannot be cut into tokens of 4 px"),
        (["prefix.scales=4", "prefix.source=lq"], "nothing is left to predict"),
    ],
)
def test_sizes_that_do_not_fit_the_tokenizer_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        schedule_of(experiment(*settings), SIZES)
