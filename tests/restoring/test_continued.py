"""Squares that continue their neighbours: they agree wherever they overlap, whatever the batch."""

import itertools
import math

import pytest
import torch

from lit_pure.config.experiment import RestoringConfig
from lit_pure.images.tiles import Cover
from lit_pure.restoring.continued import cell_cover, kept_cells
from lit_pure.restoring.photo import RestoredPhoto
from lit_pure.restoring.tiled import restore_photo, restore_together
from tests.families.pure.test_restorer import Progress
from tests.restoring.codes import CELL, SIDE, Scribbler, photo

SHAPES = [(16, 16), (5, 9), (40, 61), (9, 70), (33, 34)]


def restored(height: int, width: int, overlap: float = 0.3, batch: int = 3) -> tuple[RestoredPhoto, Scribbler]:
    restorer = Scribbler(RestoringConfig(tiles="continue", overlap=overlap, batch=batch))
    return restore_photo(restorer, photo(height, width), "a", progress=None), restorer


@pytest.mark.parametrize("overlap", [0, 0.125, 0.3, 0.5])
@pytest.mark.parametrize("length", [1, 32, 33, 40, 41, 57, 64, 113, 200, 1000])
def test_covers_lie_on_the_grid_and_each_cell_is_kept_from_one_square(length: int, overlap: float) -> None:
    cover = cell_cover(length, 32, 8, overlap)
    assert max(length, 32) <= cover.length < max(length + 8, 33) and not cover.length % 8
    ends = [start + 32 for start in cover.starts]
    shared = [end - after for end, after in zip(ends, cover.starts[1:], strict=False)]
    assert not any(start % 8 for start in cover.starts) and all(one >= max(8, 32 * overlap) for one in shared)
    pairs = zip(cover.starts, kept_cells(cover), strict=True)
    kept = [start // 8 + cell for start, cells in pairs for cell in range(cells.start, cells.stop)]
    assert kept == list(range(cover.length // 8))


def test_neighbours_meet_in_the_middle_of_their_overlap() -> None:
    assert kept_cells(Cover(80, 48, 16, 8)) == [slice(0, 5), slice(1, 6)]
    assert kept_cells(Cover(72, 48, 16, 8)) == [slice(0, 5), slice(2, 6)], "half a cell behind it"
    assert kept_cells(Cover(88, 48, 8, 8)) == [slice(0, 6), slice(1, 6)], "a cell is shared at least"


@pytest.mark.parametrize("shape", SHAPES)
def test_squares_agree_where_they_overlap(shape: tuple[int, int]) -> None:
    """What a square was given is in the photograph, and so is what it drew, where it is the first to keep a cell."""
    made, restorer = restored(*shape)
    rows, columns = (cell_cover(2 * side, 32, CELL, 0.3) for side in shape)
    grid = torch.full((rows.length // CELL, columns.length // CELL), -1)
    corners = list(itertools.product(enumerate(rows.starts), enumerate(columns.starts)))
    names = ["a"] if len(corners) == 1 else [f"a/{number}" for number in range(len(corners))]
    for name, ((row, top), (column, left)) in zip(names, corners, strict=True):
        place = slice(top // CELL, top // CELL + SIDE), slice(left // CELL, left // CELL + SIDE)
        asked, drew, part = restorer.asked[name], restorer.drew[name], grid[place]
        kept = kept_cells(rows)[row], kept_cells(columns)[column]
        known = asked[: kept[0].stop] >= 0
        assert torch.equal(part[: kept[0].stop][known], asked[: kept[0].stop][known]), "row by row, all before is there"
        assert bool((part[kept][part[kept] >= 0] == drew[kept][part[kept] >= 0]).all())
        assert row == 0 or bool(known[: kept[0].start, : kept[1].stop].all())
        assert column == 0 or bool(known[:, : kept[1].start].all())
        part[kept] = drew[kept]
    assert grid.min() >= 0
    own = made.maps["own"].values_hw
    assert own.shape == tuple(-(-2 * side // CELL) for side in shape)
    assert torch.equal(own, grid[: own.shape[0], : own.shape[1]].float()), "of the square that drew the cell"


def test_no_result_depends_on_the_batch() -> None:
    alone, one = restored(40, 61, batch=1)
    together, many = restored(40, 61, batch=8)
    assert one.drew.keys() == many.drew.keys() and max(map(len, many.batches)) > 1 == max(map(len, one.batches))
    assert all(torch.equal(one.drew[name], many.drew[name]) for name in one.drew)
    assert torch.equal(alone.pixels_3HW, together.pixels_3HW)


def test_photographs_restored_together_are_those_restored_alone_in_fewer_batches() -> None:
    photos = [(photo(*shape), f"photo {number}", 2) for number, shape in enumerate(SHAPES)]
    restorer = Scribbler(RestoringConfig(tiles="continue", overlap=0.3, batch=4))
    together = restore_together(restorer, photos, [None] * len(photos))
    batches = [len(names) for names in restorer.batches]
    alone = Scribbler(RestoringConfig(tiles="continue", overlap=0.3, batch=4))
    for made, one in zip(together, (restore_photo(alone, *one) for one in photos), strict=True):
        assert torch.equal(made.pixels_3HW, one.pixels_3HW)
        assert torch.equal(made.maps["own"].values_hw, one.maps["own"].values_hw)
        assert (made.words, made.tokens, made.seconds) == (one.words, one.tokens, one.seconds)
    assert len(batches) < len(alone.batches) and max(batches) == 4 and sum(batches) == sum(map(len, alone.batches))


def test_photographs_together_keep_their_own_given_words() -> None:
    photos = [(photo(40, 33), f"photo {number}", 2) for number in range(2)]
    restorer = Scribbler(RestoringConfig(tiles="continue", batch=8))
    restore_together(restorer, photos, [lambda tile, number=number: (number, tile.number) for number in range(2)])
    assert restorer.told and all(name == f"photo {one}/{tile}" for name, (one, tile) in restorer.told.items())


def test_words_come_row_by_row_with_their_places() -> None:
    made, _ = restored(40, 61)
    assert [tile.words["name"] for tile in made.tiles] == [f"a/{number}" for number in range(len(made.tiles))]
    places = [(tile.top, tile.left) for tile in made.tiles]
    assert places == sorted(places) and all(tile.top + tile.height <= 80 for tile in made.tiles)
    assert max(tile.left + tile.width for tile in made.tiles) == 122
    assert made.seconds == 0.5 * len(made.tiles)


def test_progress_plans_the_cells_that_are_drawn() -> None:
    told, restorer = Progress(), Scribbler(RestoringConfig(tiles="continue", batch=2))
    made = restore_photo(restorer, photo(40, 61), "a", progress=told)
    assert len(made.tiles) > 6 and set(told.plans) == {made.tokens} and told.made == made.tokens
    drawn = sum(int((known < 0).sum()) for known in restorer.asked.values())
    assert made.tokens == drawn < len(made.tiles) * SIDE * SIDE


def test_a_model_without_codes_is_refused() -> None:
    class Other:
        size, scale, restoring, device = 32, 2, RestoringConfig(tiles="continue"), torch.device("cpu")

    with pytest.raises(ValueError, match="take blend"):
        restore_photo(Other(), photo(20, 20), "a")  # type: ignore[arg-type]


def test_a_picture_beyond_memory_is_refused_before_anything_is_drawn() -> None:
    for context in (None, 2):
        restorer = Scribbler(RestoringConfig(tiles="continue"), context)
        with pytest.raises(MemoryError):
            restore_photo(restorer, torch.zeros(3, 1, 1).expand(3, 10**7, 10**7), "a")
        assert not restorer.asked and math.isfinite(restorer.size)
