"""Which checkpoints are complete, and which stay."""

import json
from pathlib import Path

import pytest

from lit_pure.runs import checkpoints


def made(folder: Path, step: int, score: float | None = None, size: int = 100) -> Path:
    """A checkpoint whose mark says that its file has 100 bytes."""
    place = checkpoints.path(folder, step)
    place.mkdir(parents=True)
    (place / "__0_0.distcp").write_bytes(bytes(size))
    mark = {"step": step, "epoch": 0, "val/loss": score, "processes": 1, "files": {"__0_0.distcp": 100}}
    (place / checkpoints.COMPLETE).write_text(json.dumps(mark))
    return place


def steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints.complete(folder)]


def test_checkpoints_are_ordered_by_steps_and_know_their_scores(tmp_path: Path) -> None:
    made(tmp_path, 1_000_000_000, 0.5)  # more digits than its neighbours
    made(tmp_path, 20)
    made(tmp_path, 3, float("nan"))
    found = checkpoints.complete(tmp_path)
    assert [(item.step, item.score) for item in found] == [(3, None), (20, None), (1_000_000_000, 0.5)]
    assert checkpoints.newest(tmp_path) == found[-1]
    assert checkpoints.newest(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", ["no mark", "half a mark", "another mark", "file shorter", "file longer", "no file"])
def test_what_a_killed_process_left_is_no_checkpoint_and_is_cleared(tmp_path: Path, damage: str) -> None:
    made(tmp_path, 10)
    place = made(tmp_path, 20)
    mark, file = place / checkpoints.COMPLETE, place / "__0_0.distcp"
    match damage:
        case "no mark":
            mark.unlink()
        case "half a mark":
            mark.write_text(mark.read_text()[:30])
        case "another mark":
            mark.write_text("[1, 2]")
        case "file shorter":
            file.write_bytes(bytes(99))
        case "file longer":
            file.write_bytes(bytes(101))
        case "no file":
            file.unlink()
    assert steps(tmp_path) == [10]
    (tmp_path / "notes.txt").touch()
    assert checkpoints.clear_incomplete(tmp_path) == [place]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["notes.txt", "step=00000010"]


@pytest.mark.parametrize(
    ("keep_last", "keep_best", "left"),
    [(1, 0, [50]), (2, 0, [40, 50]), (1, 1, [20, 50]), (2, 2, [20, 30, 40, 50]), (1, 9, [10, 20, 30, 50])],
)
def test_the_newest_and_the_best_checkpoints_stay(
    tmp_path: Path, keep_last: int, keep_best: int, left: list[int]
) -> None:
    for step, score in {10: 0.3, 20: 0.1, 30: 0.2, 40: None, 50: float("inf")}.items():
        made(tmp_path, step, score)
    made(tmp_path, 60, 0.0, size=7)  # not complete: counts for nothing, and is not touched
    gone = checkpoints.prune(tmp_path, keep_last, keep_best)
    assert steps(tmp_path) == left
    assert sorted(gone) == [checkpoints.path(tmp_path, step) for step in (10, 20, 30, 40, 50) if step not in left]
    assert checkpoints.path(tmp_path, 60).is_dir()


def test_of_equally_good_checkpoints_the_newest_stays(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        made(tmp_path, step, 0.5 if step < 30 else 0.7)
    checkpoints.prune(tmp_path, 1, 1)
    assert steps(tmp_path) == [20, 30]


def test_removing_a_checkpoint_begins_with_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = made(tmp_path, 10)
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # as if the process was killed in between
    checkpoints.remove(place)
    assert place.is_dir() and checkpoints.read(place) is None
