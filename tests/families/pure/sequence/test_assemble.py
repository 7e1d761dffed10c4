"""Sequences: the published lengths, round trips in every mode, labels on the answer only."""

import pytest
import torch

from lit_pure.config.compose import PROJECT
from lit_pure.config.pure import GuidanceMode
from lit_pure.families.pure.sequence.assemble import IGNORE, Assembler, Sample
from lit_pure.families.pure.sequence.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_file(PROJECT / "data" / "vocabulary" / "nano.json")
MODES: tuple[GuidanceMode, ...] = ("none", "perception", "understanding", "full")


def assembler(mode: GuidanceMode, max_caption: int = 64, text_length: int = 0) -> Assembler:
    return Assembler(VOCABULARY, mode, downsample=8, max_caption=max_caption, text_length=text_length)


def sample(mode: GuidanceMode, seed: int = 0) -> Sample:
    generator = torch.Generator().manual_seed(seed)
    lq, hq = (torch.randint(VOCABULARY.codes, (4, 8), generator=generator) for _ in range(2))
    levels = ("medium", "large") if mode in ("perception", "full") else (None, None)
    return Sample(lq, hq, *levels, "A bright picture of Ünïcode." if mode in ("understanding", "full") else "")


@pytest.mark.parametrize("text_length", [0, 40])
@pytest.mark.parametrize("mode", MODES)
def test_parse_undoes_assemble(mode: GuidanceMode, text_length: int) -> None:
    one = assembler(mode, text_length=text_length)
    for seed in range(5):
        ids, _ = one.assemble(sample(mode, seed))
        assert one.parse(ids) == sample(mode, seed)


@pytest.mark.parametrize("mode", MODES)
def test_only_the_answer_is_learned(mode: GuidanceMode) -> None:
    one = assembler(mode)
    ids, labels = one.assemble(sample(mode))
    prompt = one.prompt(sample(mode).lq_codes_hw)
    assert bool((labels[: len(prompt)] == IGNORE).all())
    assert torch.equal(labels[len(prompt) :], ids[len(prompt) :])
    assert torch.equal(ids[: len(prompt)], prompt)


def test_the_modes_differ_as_they_say() -> None:
    both = Sample(*(torch.zeros(4, 4, dtype=torch.long),) * 2, "small", "large", "A cat.")
    lengths = {}
    for mode in MODES:
        parsed = assembler(mode).parse(assembler(mode).assemble(both)[0])
        lengths[mode] = len(assembler(mode).prompt(both.lq_codes_hw))
        assert (parsed.blur is not None) == (mode in ("perception", "full"))
        assert (parsed.caption == "A cat.") == (mode in ("understanding", "full"))
    assert lengths["none"] < lengths["perception"] < lengths["full"]


def test_the_image_block_has_the_published_length_and_order() -> None:
    block = assembler("none").image_block(torch.arange(4096).view(64, 64)).tolist()
    assert len(block) == 4164
    assert block[:3] == [VOCABULARY.image_start, VOCABULARY.size_id(16), VOCABULARY.size_id(16)]
    assert [i for i, token in enumerate(block) if token == VOCABULARY.newline] == list(range(67, 4163, 65))
    assert block[-1] == VOCABULARY.image_end
    wide = assembler("none").image_block(torch.zeros(4, 8, dtype=torch.long)).tolist()
    assert wide[1:3] == [VOCABULARY.size_id(1), VOCABULARY.size_id(2)], "height comes before width"


def test_a_batch_is_padded_without_labels_and_bare_samples_lose_their_condition() -> None:
    one = assembler("full")
    ids, labels = one.batch([sample("full"), sample("full", 1)], bare=[False, True])
    full, alone = one.assemble(sample("full"))[0], one.unconditional(sample("full", 1).hq_codes_hw)
    assert torch.equal(ids[0], full)
    assert torch.equal(ids[1, : len(alone[0])], alone[0])
    assert bool((labels[1, len(alone[0]) :] == IGNORE).all()) and labels[1, :3].tolist() == [IGNORE] * 3
    assert bool((labels[1, 3 : len(alone[0])] != IGNORE).all())


@pytest.mark.parametrize("mode", ["perception", "understanding", "full"])
def test_filled_up_the_image_stands_at_one_distance_whatever_is_said(mode: GuidanceMode) -> None:
    """A model learns when text ends, and nothing of filler."""
    one, codes = assembler(mode, text_length=30), torch.zeros(4, 4, dtype=torch.long)
    rows = [len(one.assemble(Sample(codes, codes, "small", "large", "a " * 100))[0])]
    for caption in ("A cat.", "A dark picture of low contrast."):
        ids, labels = one.assemble(Sample(codes, codes, "small", "large", caption))
        plain, _ = assembler(mode).assemble(Sample(codes, codes, "small", "large", caption))
        prompt, spoken = len(one.prompt(codes)), len(plain) - len(one.prompt(codes)) - 4 * 5 - 5
        end = prompt + spoken
        assert 0 < spoken < 30
        assert torch.equal(ids[:end], plain[:end]) and torch.equal(ids[prompt + 30 :], plain[end:])
        assert bool((ids[end : prompt + 30] == VOCABULARY.pad).all())
        assert torch.equal(labels[prompt:end], plain[prompt:end]) and int(labels[end]) == VOCABULARY.image_start
        assert bool((labels[end + 1 : prompt + 30] == IGNORE).all())
        assert torch.equal(labels[prompt + 30 :], ids[prompt + 30 :])
        rows.append(len(ids))
    assert len(set(rows)) == 1


def test_a_long_caption_is_cut_between_words() -> None:
    one = assembler("understanding", max_caption=5)
    long = Sample(
        *(torch.zeros(4, 4, dtype=torch.long),) * 2, caption="a dark picture of medium contrast and more words"
    )
    parsed = one.parse(one.assemble(long)[0])
    assert long.caption.startswith(parsed.caption) and parsed.caption.split() == long.caption.split()[:5]


def test_errors() -> None:
    with pytest.raises(ValueError, match="sequence.text_length = 5 leaves no room"):
        assembler("full", text_length=5)
    with pytest.raises(ValueError, match="needs blur and noise levels"):
        assembler("full").assemble(Sample(*(torch.zeros(4, 4, dtype=torch.long),) * 2))
    with pytest.raises(ValueError, match="a grid of 3x4 codes"):
        assembler("none").opening(3, 4)
    ids, _ = assembler("none").assemble(sample("none"))
    with pytest.raises(ValueError, match="instruction of mode full"):
        assembler("full").parse(ids)
    with pytest.raises(ValueError, match="is not 4x8 codes long"):
        assembler("none").parse(ids[:-4])
    damaged = ids.clone()
    damaged[-4] = VOCABULARY.bos
    with pytest.raises(ValueError, match="not codes"):
        assembler("none").parse(damaged)
