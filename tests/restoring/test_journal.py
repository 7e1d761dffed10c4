"""What is drawn of a photograph is not drawn again, whatever stopped its restoration."""

import os
import signal
from pathlib import Path
from typing import Literal

import pytest
import torch

from lit_pure.config.experiment import RestoringConfig
from lit_pure.images.io import read_bytes, write_png
from lit_pure.restoring.folder import UNFINISHED, restore_files
from lit_pure.restoring.journal import Journal
from lit_pure.restoring.tiled import BySquares, restore_photo
from tests.families.pure.test_restorer import Progress, make, texture
from tests.forks import FORKS
from tests.restoring.codes import Scribbler, photo

WITH = {"scale": 2}


def scribbler() -> Scribbler:
    return Scribbler(RestoringConfig(tiles="continue", overlap=0.3, batch=2))


@pytest.mark.parametrize("tiles", ["blend", "continue"])
def test_a_model_gives_the_same_with_a_journal_and_draws_nothing_twice(
    tiles: Literal["blend", "continue"], tmp_path: Path
) -> None:
    restorer, photo_3hw = make(RestoringConfig(batch=2, tiles=tiles)), texture(20, 41)
    plain = restore_photo(restorer, photo_3hw, "a")
    told, again, lengths = Progress(), Progress(), list[int]()
    for progress in (told, again):
        journal = Journal(tmp_path / "journal", WITH)
        made = BySquares(restorer).restore_photo(photo_3hw, "a", progress=progress, journal=journal)
        assert torch.equal(made.pixels_3HW, plain.pixels_3HW)
        assert made.words == plain.words and made.tiles == plain.tiles and made.tokens == plain.tokens
        for name, cells in plain.maps.items():
            assert torch.equal(made.maps[name].values_hw, cells.values_hw)
        lengths.append((tmp_path / "journal").stat().st_size)
    assert told.made == again.made == plain.tokens
    assert lengths[0] == lengths[1], "nothing was drawn the second time"


def test_a_record_that_is_cut_or_damaged_is_drawn_again_and_those_before_it_are_not(tmp_path: Path) -> None:
    photo_3hw, path = photo(40, 61), tmp_path / "journal"
    whole = BySquares(scribbler()).restore_photo(photo_3hw, "a", journal=Journal(path, WITH))
    content = path.read_bytes()
    for harmed, drawn in ((content[:-5], 1), (content[:-5] + b"\x00" * 5, 1), (content + b"half a record", 0)):
        path.write_bytes(harmed)
        restorer = scribbler()
        made = BySquares(restorer).restore_photo(photo_3hw, "a", journal=Journal(path, WITH))
        assert torch.equal(made.pixels_3HW, whole.pixels_3HW) and len(restorer.batches) == drawn
        assert len(Journal(path, WITH).squares) == len(made.tiles)


def test_what_was_drawn_of_something_else_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    BySquares(scribbler()).restore_photo(photo(40, 61), "a", journal=Journal(path, WITH))
    for content in (None, b"", b"no journal at all, but longer than a head"):
        if content is not None:
            path.write_bytes(content)
        assert not Journal(path, {"scale": 4}).squares
    journal = Journal(path, {"scale": 4})
    BySquares(scribbler()).restore_photo(photo(9, 9), "a", journal=journal)
    assert Journal(path, {"scale": 4}).squares.keys() == {"a"} and not Journal(path, WITH).squares


def stopped(folder: Path, number: int) -> None:
    """Restore, and get a signal in the middle of drawing."""

    class Deadly(Scribbler):
        def draw_codes(self, *of: object, **how: object) -> list[object]:  # type: ignore[override]
            if len(self.batches) == 9:
                os.kill(os.getpid(), number)
            return super().draw_codes(*of, **how)  # type: ignore[arg-type,return-value]

    if number == signal.SIGTERM:
        from lit_pure.runs.stop import stop_at_once

        with stop_at_once():
            list(restore_files(BySquares(Deadly(scribbler().restoring)), [folder / "a.png"], folder / "out", bar))
    list(restore_files(BySquares(Deadly(scribbler().restoring)), [folder / "a.png"], folder / "out", bar))


def bar(path: Path) -> Progress:
    return Progress()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_photograph_of_many_rows_goes_on_and_is_the_same(number: int, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", photo(16 * 11, 40))
    process = FORKS.Process(target=stopped, args=(tmp_path, number))
    process.start()
    process.join(120)
    assert process.exitcode, "it was stopped"
    (left,) = (tmp_path / "out" / UNFINISHED).iterdir()
    assert left.stat().st_size and not (tmp_path / "out" / "a.png").exists()
    straight, resumed = scribbler(), scribbler()
    for restorer, out in ((straight, "straight"), (resumed, "out")):
        (made,) = restore_files(BySquares(restorer), [tmp_path / "a.png"], tmp_path / out, bar)
        assert made.picture, made.note
    rows = {tile for batch in straight.batches for tile in batch}
    assert len(rows) >= 16 * 2 and resumed.batches == straight.batches[9:]
    assert (tmp_path / "out" / "a.png").read_bytes() == (tmp_path / "straight" / "a.png").read_bytes()
    assert read_bytes(tmp_path / "out" / "a.png").shape == (3, 16 * 22, 80)
    assert not (tmp_path / "out" / UNFINISHED).exists()
