"""PURE's squares continue their neighbours: the same photograph for both engines and any batch."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lit_pure.config.experiment import RestoringConfig
from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sampling.decode import decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sequence.assemble import AnswerWords
from lit_pure.files.names import number_of
from lit_pure.images.tiles import Tile
from lit_pure.restoring.photo import RestoredPhoto
from tests.families.pure.test_restorer import Progress, make, texture


def exact(text_length: int = 0) -> Restorer:
    """In float64, so that no tie is decided by how a matrix product was cut."""
    restorer = make(text_length=text_length)
    restorer.backbone.double()
    torch.nn.init.normal_(restorer.backbone.head.weight, std=0.5)  # far from uniform: each code depends on those before
    return restorer


def restored(restorer: Restorer, photo_3hw: Tensor, batch: int, sampling: SamplingConfig) -> RestoredPhoto:
    restorer.sampling = sampling
    restorer.restoring = RestoringConfig(tiles="continue", batch=batch, overlap=0.3)
    return restorer.restore_photo(photo_3hw, "a")


@pytest.mark.parametrize(("guidance", "text_length"), [(1.0, 0), (2.0, 24)])
def test_the_photograph_is_the_same_for_any_batch_and_both_engines(guidance: float, text_length: int) -> None:
    restorer, photo_3hw = exact(text_length), texture(30, 41)
    config = SamplingConfig(guidance=guidance, max_text=5)
    first = restored(restorer, photo_3hw, 1, config)
    assert len(first.tiles) == 12, "whose squares know different cells"
    for batch, changes in ((3, {}), (8, {}), (1, {"engine": "jacobi"}), (8, {"engine": "jacobi", "window": 5})):
        other = restored(restorer, photo_3hw, batch, replace(config, **changes))
        difference = (other.pixels_3HW.int() - first.pixels_3HW.int()).abs()
        assert difference.max() <= 1 and difference.ne(0).float().mean() < 0.01, "convolutions round differently"
        assert torch.equal(other.maps["k"].values_hw, first.maps["k"].values_hw)
        torch.testing.assert_close(other.maps["entropy"].values_hw, first.maps["entropy"].values_hw)
        assert [tile.words for tile in other.tiles] == [tile.words for tile in first.tiles]
        assert other.tokens == first.tokens
    drawn = restored(restorer, photo_3hw, 8, replace(config, seed=1))
    assert not torch.equal(drawn.maps["k"].values_hw, first.maps["k"].values_hw)


def test_a_photograph_of_one_square_is_what_blend_makes_of_it() -> None:
    restorer = exact()
    for shape in ((16, 16), (9, 14)):
        photo_3hw = texture(*shape)
        alone = restored(restorer, photo_3hw, 1, restorer.sampling)
        restorer.restoring = RestoringConfig()
        blended = restorer.restore_photo(photo_3hw, "a")
        assert torch.equal(alone.pixels_3HW, blended.pixels_3HW) and alone.words == blended.words
        assert torch.equal(alone.maps["entropy"].values_hw, blended.maps["entropy"].values_hw.to(torch.float32))
        assert alone.tokens == blended.tokens and alone.tiles == blended.tiles


def test_a_square_is_answered_around_the_codes_that_it_is_given() -> None:
    """By the engine itself, asked for one square of the batch."""
    restorer = exact()
    squares_B3ss = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    known_Bhw = torch.full((2, 8, 8), -1)
    known_Bhw[0, :2], known_Bhw[1, :, :3] = 7, 11
    drawn = restorer.draw_codes(squares_B3ss, ["a", "b"], known_Bhw)
    restorer.backbone.eval()
    lq_Bhw = restorer.tokenizer.encode(squares_B3ss)
    grammar = Grammar.of(restorer.assembler, 8, 8)
    for row, name in enumerate("ab"):
        prompts, numbers = [restorer.assembler.prompt(lq_Bhw[row])], [number_of(name)]
        how = (restorer.backbone, prompts, grammar, restorer.sampling, numbers, lq_Bhw[row : row + 1])
        alone = decode(*how, known_Bhw=known_Bhw[row : row + 1])
        assert torch.equal(drawn[row].codes_hw, alone.codes_Bhw[0]) and drawn[row].tokens == alone.tokens
        assert torch.equal(drawn[row].codes_hw[known_Bhw[row] >= 0], known_Bhw[row][known_Bhw[row] >= 0])


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_progress_ends_where_the_tokens_end(engine: str) -> None:
    told, restorer = Progress(), exact()
    restorer.sampling = replace(restorer.sampling, engine=engine)
    restorer.restoring = RestoringConfig(tiles="continue", batch=2)
    made = restorer.restore_photo(texture(30, 41), "a", progress=told)
    assert told.made == told.plans[-1] == made.tokens < len(made.tiles) * (8 * 9 + 4)
    assert told.plans[0] == pytest.approx(made.tokens, rel=0.15), "all but what is written"


def test_given_words_are_those_of_each_square() -> None:
    restorer = exact()
    restorer.restoring = RestoringConfig(tiles="continue", batch=2)
    asked: list[Tile] = []

    def given(tile: Tile) -> AnswerWords:
        asked.append(tile)
        return AnswerWords("medium", "large" if tile.column else "small", "")

    made = restorer.restore_photo(texture(30, 41), "a", given=given)
    assert sorted(tile.number for tile in asked) == list(range(len(made.tiles)))
    assert [tile.words["noise"] for tile in made.tiles] == ["large" if tile.left else "small" for tile in made.tiles]
    assert made.words["blur"] == "medium"
