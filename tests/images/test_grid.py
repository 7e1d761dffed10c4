"""Pictures side by side."""

import pytest
import torch

from lit_pure.images.grid import GAP, HEADER, labelled_grid


def test_every_picture_of_a_grid_is_below_its_label() -> None:
    left, right = torch.rand(3, 3, 8, 40), torch.rand(3, 3, 8, 40)
    grid = labelled_grid({"left": left, "right": right})
    assert grid.shape == (3, HEADER + 3 * (8 + GAP), 2 * (40 + GAP))
    for row in range(3):
        top = HEADER + row * (8 + GAP)
        assert torch.equal(grid[:, top : top + 8, :40], left[row])
        assert torch.equal(grid[:, top : top + 8, 40 + GAP : 80 + GAP], right[row])
    assert float(grid[:, :HEADER, : 40 + GAP].max()) > 0.5, "the label is drawn"


def test_a_grid_resizes_smaller_columns_and_refuses_uneven_ones() -> None:
    assert labelled_grid({"a": torch.rand(1, 3, 8, 8), "b": torch.rand(1, 3, 4, 4)}).shape[2] == 2 * (8 + GAP)
    with pytest.raises(ValueError, match=r"columns of \[1, 2\] pictures"):
        labelled_grid({"a": torch.rand(1, 3, 8, 8), "b": torch.rand(2, 3, 8, 8)})
