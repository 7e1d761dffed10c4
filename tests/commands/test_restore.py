"""What `restore` says of a large photograph before it is done, and how large a result may become."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.commands import restore
from lit_pure.config.experiment import RestoringConfig
from lit_pure.images.io import read_bytes, write_png
from lit_pure.restoring.tiled import BySquares
from tests.restoring.codes import Scribbler, photo


class Slow(Scribbler):
    """Makes its tokens at a known speed: each batch takes a second of a clock that is not the real one."""

    clock = 0.0

    def draw_codes(self, *given: Any, **how: Any) -> Any:
        drawn = super().draw_codes(*given, **how)
        how["progress"](sum(square.tokens for square in drawn))
        Slow.clock += 1.0
        return drawn


def restored(side: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is said of a square photograph."""
    monkeypatch.setattr(restore.time, "monotonic", lambda: 1 + Slow.clock)
    write_png(folder / "a.png", photo(side, side))
    restorer = BySquares(Slow(RestoringConfig(tiles="continue", batch=4)))
    assert restore.restore_all(restorer, [folder / "a.png"], folder / "out", "tokens") == 0
    return capsys.readouterr().out.splitlines()


def test_a_large_photograph_is_announced_and_its_time_told_after_the_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = restored(160, tmp_path, monkeypatch, capsys)
    assert said[0] == "a.png: to 320 x 320 px, in 169 squares"
    assert "to go; if it is stopped, the same command goes on from there" in said[1]
    assert len(said) == 4, "then what became of it, and of all"


def test_a_small_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(restored(40, tmp_path, monkeypatch, capsys)) == 2


@pytest.mark.parametrize(
    ("sides", "limit", "made"), [((40, 60), 160, (107, 160)), ((60, 40), 160, (160, 107)), ((20, 40), 160, (80, 160))]
)
def test_no_result_is_longer_than_asked_for(
    sides: tuple[int, int], limit: int, made: tuple[int, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    write_png(tmp_path / "a.png", photo(*sides))
    command = ["baseline", "bicubic", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    assert main([*command, "--max-size", str(limit)]) == 0
    found = tuple(read_bytes(tmp_path / "out" / "a.png").shape[1:])
    assert max(found) == max(made) <= limit and abs(min(found) - min(made)) <= 4, "whole pixels before it is enlarged"


def test_another_scale_than_the_learned_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for asked in (None, 4, 1):
            restore._warn_of_scale("pure/nano", 4, asked)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("pure/nano learned to enlarge 4 times: at --scale 1")
