"""Squares shared out to processes: the same pixels, words and tokens for any number of them."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from lit_pure.config.experiment import RestoringConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.restoring import shared as module
from lit_pure.restoring.journal import Journal
from lit_pure.restoring.shared import cuts, shared
from lit_pure.restoring.tiled import BySquares
from tests.families.pure.test_restorer import Progress, make, texture


@pytest.mark.parametrize("tiles", ["blend", "continue"])
def test_no_pixel_word_or_token_depends_on_the_number_of_processes(
    tiles: Literal["blend", "continue"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Restorer, "together", 2)
    photo_3hw, found, tokens = texture(40, 61), [], []
    for workers in (1, 2, 3):
        restorer, told = make(RestoringConfig(batch=16, tiles=tiles, workers=workers)), Progress()
        with shared(restorer) as inner:
            assert inner.settings() == restorer.settings() and inner.parts() == restorer.parts()
            by_squares, journal = BySquares(inner), Journal(tmp_path / str(workers), {})
            found.append(by_squares.restore_photo(photo_3hw, "a", progress=told, journal=journal))
        tokens.append(told.made)
    for one, made in zip(found, tokens, strict=True):
        assert torch.equal(one.pixels_3HW, found[0].pixels_3HW)
        assert one.words == found[0].words and one.tiles == found[0].tiles and one.tokens == found[0].tokens == made
        assert all(torch.equal(one.maps[name].values_hw, cells.values_hw) for name, cells in found[0].maps.items())


def test_small_batches_start_no_process_and_leave_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    with shared(make(RestoringConfig(tiles="continue", workers=2))) as restorer:
        BySquares(restorer).restore_photo(texture(20, 41), "a")
        assert isinstance(restorer, module.SharedCodes) and restorer._share._pool is None
    assert torch.get_num_threads() == before


def test_what_goes_wrong_in_a_process_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Restorer, "together", 1)
    restorer = make(RestoringConfig(tiles="continue", workers=2))
    restorer.sampling = replace(restorer.sampling, temperature="warm")
    with pytest.raises(TypeError), shared(restorer) as inner:
        BySquares(inner).restore_photo(texture(40, 41), "a")


@pytest.mark.parametrize("count", [1, 7, 8, 9, 13, 16, 17, 30])
def test_parts_are_as_few_and_as_even_as_they_can_be(count: int) -> None:
    sizes = [part.stop - part.start for part in cuts(count, 8)]
    assert sum(sizes) == count and len(sizes) == -(-count // 8) and max(sizes) - min(sizes) <= 1
