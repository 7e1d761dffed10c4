"""Photographs that two processes cannot share evenly: nobody waits for the other, and each counts once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults import uneven
from tests.faults.conftest import launch
from tests.faults.train import Settings


@pytest.fixture
def seven(here: Settings) -> Settings:
    """Seven photographs, each of another brightness."""
    folder = Path(here.folder) / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number in range(7):
        pixels = np.clip(noise.normal(40 + 30 * number, 8 + number, (96, 96, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"photo{number}.png")
    return here


def test_seven_photographs_on_two_processes_score_as_on_one(seven: Settings) -> None:
    alone = launch(seven, uneven.main)
    assert alone.statuses == [0], alone.printed
    expected = alone.reports[0]
    assert {"val/loss", "val/psnr"} <= expected["val"].keys()
    assert sorted(image for method, image, _ in expected["rows"] if method == "restored") == [
        f"photo{number}" for number in range(7)
    ]
    for strategy in ("ddp", "fsdp"):
        shared = launch(replace(seven, world=2, strategy=strategy), uneven.main)
        assert shared.statuses == [0, 0], shared.printed
        first, second = shared.reports
        assert first["val"] == second["val"]
        assert first["val"] == pytest.approx(expected["val"], rel=1e-4)
        assert [row[:2] for row in first["rows"]] == [row[:2] for row in expected["rows"]]
