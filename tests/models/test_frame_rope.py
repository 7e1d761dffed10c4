"""Positions on the common frame: recorded coordinates, tables and rotations; complex numbers as oracle."""

import numpy as np
import pytest
import torch

from lit_pure.models.frame_rope import cached_angles, frame_angles, frame_coordinates, rotate_pairs, tokens_in
from tests.golden import golden, grids_of, tensor


def test_rows_lie_at_their_place_on_the_frame_with_halves_to_even() -> None:
    rows = frame_coordinates([(1, 1), (4, 2)], (10, 10))[:, 0]
    assert rows.tolist() == [0, 0, 0, 2, 2, 5, 5, 8, 8], "2.5 and 7.5 go to their even neighbours"
    assert frame_coordinates([(2, 3)], (2, 3)).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_recorded_coordinates_of_all_templates() -> None:
    values = golden("c_rope_and_schedules")
    for name in [name for name in values if name.startswith("coords_")]:
        grids = grids_of(values[name.replace("coords", "grid")])
        found = frame_coordinates(grids, grids[-1])
        assert np.array_equal(found.numpy(), values[name]), name


@pytest.mark.parametrize("ratio", ["1.0", "1.25"])
def test_recorded_tables(ratio: str) -> None:
    values = golden("c_rope_and_schedules")
    grids = grids_of(values[f"grid_{ratio}"])
    for scales, rows, name in (
        (7, slice(None, None, 3), "0.06M_rows3"),
        (13, values[f"table_hd128_{ratio}_rows"], "1M_rows389"),
    ):
        angles = cached_angles(tuple(grids[:scales]), grids[-1], 128, 1e4, torch.device("cpu"))
        found = torch.stack(angles)[:, rows].numpy()
        assert np.abs(found - values[f"table_hd128_{ratio}_{name}"]).max() <= 5e-6


def test_recorded_rotations() -> None:
    values = golden("c_rope_and_schedules")
    grids = grids_of(values["apply_schedule"])
    angles = frame_angles(frame_coordinates(grids, (70, 56)), 16, 1e4)
    for name in ("q", "k"):
        found = rotate_pairs(tensor(values[f"apply_{name}"]).transpose(1, 2), angles).transpose(1, 2)
        assert np.abs(found.numpy() - values[f"apply_{name}_out"]).max() <= 5e-6


def test_pairs_turn_as_complex_numbers_do() -> None:
    grids = [(1, 1), (2, 3)]
    coordinates = frame_coordinates(grids, (4, 6))
    x = torch.randn(2, tokens_in(grids), 3, 8)
    frequencies = 100.0 ** -(torch.arange(2) / 2)
    turns = torch.cat([coordinates[:, :1] * frequencies, coordinates[:, 1:] * frequencies], dim=1)
    expected = torch.view_as_complex(x.unflatten(-1, (4, 2))) * torch.polar(torch.ones_like(turns), turns)[:, None]
    found = rotate_pairs(x, frame_angles(coordinates, 8, 100.0))
    assert torch.allclose(found, torch.view_as_real(expected).flatten(-2), atol=1e-6)
    assert torch.allclose(found.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
