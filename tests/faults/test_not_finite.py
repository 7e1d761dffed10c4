"""A loss or a gradient that is not finite, on one of several processes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lit_pure.datasets.order import Stream
from lit_pure.runs import checkpoints
from tests.faults.conftest import launch
from tests.faults.train import LENGTH, Settings


def written(ended: Settings) -> list[dict[str, object]]:
    path = Path(ended.folder) / "skipped_steps.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def seen(step: int, world: int, accumulate: int = 1) -> list[list[str]]:
    """Names of the images in the step after `step`, by process, as the order of seed 0 says."""
    per_step = 2 * accumulate
    found = []
    for rank in range(world):
        keys = iter(Stream(LENGTH, 0, step * per_step * world, rank, world))
        found.append([f"image{next(keys)[1]}" for _ in range(per_step)])
    return found


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("fault", ["nan", "infinite_gradient"])
def test_all_processes_leave_the_same_step_out_and_training_goes_on(here: Settings, strategy: str, fault: str) -> None:
    here = replace(here, world=2, strategy=strategy, fault=fault, rank=1, steps=(2, 4), every=10)
    ended = launch(here)
    assert ended.statuses == [0, 0], ended.printed
    for report in ended.reports:
        assert report["untouched"] == [True, True], "parameters and moments, bit for bit"
        assert report["steps"] == 6 and report["in_a_row"] == 0
    assert all(torch.tensor(value).isfinite().all() for value in ended.weights())
    lines = written(here)
    assert [line["step"] for line in lines] == [2, 4]
    assert [line["images"] for line in lines] == [seen(2, 2), seen(4, 2)]
    assert len(ended.printed[0]) == 2 and not ended.printed[1]
    if fault == "nan":
        assert [line["ranks"] for line in lines] == [[1], [1]]
        assert lines[0]["losses"][1] == ["nan"] and lines[0]["losses"][0][0] > 0  # type: ignore[index,operator]


def test_a_first_step_that_is_not_finite_is_left_out_too(here: Settings) -> None:
    """Without the guard AdamW's moments would be NaN for ever after."""
    ended = launch(replace(here, fault="nan", steps=(0,)))
    assert ended.reports[0]["untouched"] == [True], "even the first one, before there are moments"
    losses = ended.reports[0]["losses"]
    assert len(losses) == 6 and torch.tensor(losses).isfinite().all()
    assert "the step after step 0 is skipped: loss or gradient is not finite (image" in ended.printed[0][0]


def test_one_bad_batch_of_an_accumulation_leaves_the_step_out_and_names_all_of_it(here: Settings) -> None:
    here = replace(here, fault="nan", steps=(1,), accumulate=2)
    ended = launch(here)
    assert ended.statuses == [0]
    assert written(here)[0]["images"] == seen(1, 1, accumulate=2)


def test_too_many_steps_in_a_row_that_are_not_finite_stop_training_and_one_process_says_why(here: Settings) -> None:
    here = replace(here, world=2, strategy="ddp", fault="nan", rank=1, steps=(0, 2, 3, 4), limit=3, every=1)
    ended = launch(here)
    assert ended.statuses == [1, 1]
    error = ended.printed[0][-1]
    assert error.startswith(
        "error: 3 steps in a row had a loss or gradient that is not finite, the last one with image"
    )
    assert "step=00000004 is kept" in error and "lower optim.lr" in error
    assert not ended.printed[1]
    assert [line["step"] for line in written(here)] == [0, 2, 3, 4]


def test_the_count_of_skipped_steps_and_their_records_survive_a_kill(here: Settings) -> None:
    """Two before, one after: that makes three. A step that is taken again is written down once."""
    bad = replace(here, fault="nan", steps=(2, 3, 4), every=4, limit=4, max_steps=5, keep=2)
    assert launch(bad).statuses == [0]
    # As if it had been killed before the last step's checkpoint was complete.
    checkpoints.remove(checkpoints.path(Path(here.folder) / checkpoints.FOLDER, 5))
    ended = launch(replace(bad, limit=3))
    assert ended.statuses == [1] and ended.reports[0]["from"] == 4
    assert [line["step"] for line in written(here)] == [2, 3, 4]
