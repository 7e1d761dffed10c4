"""Tiles cover every pixel, weights add up to one, tiles of a picture give the picture; without weights seams show."""

import itertools

import pytest
import torch

from lit_pure.images.io import to_bytes
from lit_pure.images.tiles import Canvas, Cover, MeanMap, batches, diagonals

LENGTHS = [1, 7, 32, 33, 40, 57, 64, 113, 200, 1000]


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("overlap", [0, 4, 16])
@pytest.mark.parametrize("length", LENGTHS)
def test_tiles_reach_from_edge_to_edge_evenly_and_overlap_enough(length: int, overlap: int) -> None:
    cover = Cover(length, 32, overlap)
    assert cover.starts[0] == 0 and cover.starts[-1] + cover.extent == length
    steps = [after - before for before, after in itertools.pairwise(cover.starts)]
    assert all(32 - step >= overlap for step in steps)
    assert not steps or max(steps) - min(steps) <= 1
    fewer = len(cover.starts) - 1
    assert fewer == 0 or 32 + (fewer - 1) * (32 - overlap) < length, "one tile less would not do"


@pytest.mark.parametrize("overlap", [0, 5, 16])
@pytest.mark.parametrize("length", LENGTHS)
def test_weights_of_tiles_add_up_to_one_at_every_pixel(length: int, overlap: int) -> None:
    cover = Cover(length, 32, overlap)
    total = torch.zeros(length)
    for start, weight_l in zip(cover.starts, cover.weights_nl, strict=True):
        total[start : start + cover.extent] += weight_l
    torch.testing.assert_close(total, torch.ones(length), atol=1e-6, rtol=0)
    assert cover.weights_nl.min() >= 0 and cover.weights_nl.max() <= 1


def test_neighbouring_tiles_fade_along_a_raised_cosine() -> None:
    first_l, second_l = Cover(56, 32, 8).weights_nl
    expected_8 = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(8) + 0.5) / 8)
    torch.testing.assert_close(second_l[:8], expected_8)
    torch.testing.assert_close(first_l[24:], 1 - expected_8)
    assert torch.equal(first_l[:24], torch.ones(24))


def test_tiles_that_cannot_cover_a_picture_are_refused() -> None:
    for numbers in ((0, 32, 4), (10, 32, 17), (10, 32, -1)):
        with pytest.raises(ValueError, match="at most half"):
            Cover(*numbers)
    with pytest.raises(ValueError, match="multiples of 8 px"):
        Cover(100, 32, 8, 8)


@pytest.mark.parametrize("length", [8, 32, 40, 56, 64, 200, 1000])
def test_tiles_on_a_grid_are_those_of_cells_enlarged(length: int) -> None:
    assert Cover(length, 32, 8, 8).starts == [8 * start for start in Cover(length // 8, 4, 1).starts]


@pytest.mark.parametrize("most", [1, 2, 8])
def test_tiles_on_a_diagonal_come_after_all_above_and_to_their_left(most: int) -> None:
    rows, columns = Cover(75, 32, 6), Cover(130, 32, 6)
    done: set[tuple[int, int]] = set()
    for tiles in diagonals(rows, columns, most):
        assert 1 <= len(tiles) <= most
        for tile in tiles:
            before = {(row, column) for row in range(tile.row + 1) for column in range(tile.column + 1)}
            assert before - done == {(tile.row, tile.column)}, "none of its own list is among them"
        done |= {(tile.row, tile.column) for tile in tiles}
    assert len(done) == len(rows.starts) * len(columns.starts)


@pytest.mark.parametrize(("height", "width", "most"), [(75, 130, 2), (20, 70, 8), (100, 9, 1), (32, 32, 3)])
def test_a_picture_cut_into_tiles_comes_back_rounded(height: int, width: int, most: int) -> None:
    picture_3HW = noise(3, height, width)
    rows, columns = Cover(height, 32, 6), Cover(width, 32, 6)
    canvas, numbers = Canvas(rows, columns), []
    for tiles in batches(rows, columns, most):
        left = len(rows.starts) * len(columns.starts) - len(numbers)
        assert len(tiles) == min(most, left), "also across rows"
        for tile in tiles:
            numbers.append(tile.number)
            canvas.add(tile, picture_3HW[:, tile.top : tile.top + 32, tile.left : tile.left + 32])
    assert numbers == list(range(len(rows.starts) * len(columns.starts)))
    difference = canvas.finish().int() - to_bytes(picture_3HW).int()
    # Weights add up to one within a millionth: only a value half-way between two levels may fall on the other side.
    assert difference.abs().max() <= 1 and difference.ne(0).float().mean() < 1e-3


def test_the_canvas_rounds_and_never_truncates() -> None:
    rows, columns = Cover(50, 32, 8), Cover(40, 32, 8)
    canvas = Canvas(rows, columns)
    for tile in itertools.chain(*batches(rows, columns, 4)):
        canvas.add(tile, torch.full((3, 32, 32), 100.6 / 255))
    assert set(canvas.finish().unique().tolist()) == {101}


def test_only_one_row_of_tiles_is_in_floating_point() -> None:
    canvas = Canvas(Cover(1000, 32, 8), Cover(100, 32, 8))
    for tile in itertools.chain(*batches(canvas.rows, canvas.columns, 4)):
        canvas.add(tile, torch.zeros(3, 32, 32))
        floats = [value for value in vars(canvas).values() if isinstance(value, torch.Tensor)]
        assert sum(value.numel() for value in floats) == 3 * 32 * 100


def test_a_picture_beyond_memory_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        Canvas(Cover(10**8, 32, 8), Cover(10**8, 32, 8))


def test_maps_are_averaged_where_tiles_overlap() -> None:
    whole = MeanMap(2, 5)
    whole.add(0, 0, torch.full((2, 3), 1.0))
    whole.add(0, 2, torch.full((2, 3), 3))
    assert whole.finish().tolist() == [[1, 1, 2, 3, 3]] * 2
