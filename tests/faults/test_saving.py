"""Killed while saving; no room for what is to be saved."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lit_pure.runs import checkpoints
from tests.faults.conftest import Ended, launch, resumes
from tests.faults.train import Settings

Straight = Callable[[Settings], Ended]


@pytest.mark.parametrize("world", [1, 2])
def test_killed_while_saving_the_half_written_folder_is_ignored_and_cleared(
    here: Settings, straight: Straight, world: int
) -> None:
    here = replace(here, world=world, strategy="ddp" if world > 1 else "auto", grace=1.0)
    ended = launch(replace(here, fault="die_saving"))
    assert ended.statuses[0] == -9 and 0 not in ended.statuses
    folder = Path(here.folder) / checkpoints.FOLDER
    half = checkpoints.path(folder, 4)
    assert list(half.glob("*.distcp")), "its tensors are there"
    assert ended.last is not None and ended.last.step == 2
    resumes(here, straight, 2)
    assert checkpoints.read(half) is None


def test_where_a_file_cannot_grow_training_goes_on_and_the_last_checkpoint_stands(
    here: Settings, straight: Straight
) -> None:
    ended = launch(replace(here, fault="full_disk", steps=(2,)))
    assert ended.statuses == [0], ended.printed
    assert ended.last is not None and ended.last.step == 2
    warnings = [line for line in ended.printed[0] if "could not be written" in line]
    assert len(warnings) == 2 and all("step=00000002 is kept" in line for line in warnings)
    assert ended.weights() == straight(here).weights()
    resumes(here, straight, 2)


def test_a_signal_on_a_full_disk_says_that_nothing_was_saved(here: Settings) -> None:
    ended = launch(replace(here, fault="full_disk_and_term", steps=(2,)))
    assert ended.statuses == [1] and ended.last is not None and ended.last.step == 2
    assert ended.printed[0][-1].startswith("error: ") and "step=00000002 is kept" in ended.printed[0][-1]


def test_on_a_disk_that_is_full_training_goes_on_and_with_more_room_so_does_the_same_command(
    here: Settings, straight: Straight
) -> None:
    """A file system of its own, with room for one checkpoint but not for two."""
    here = replace(here, width=100)  # a matrix and two moments: 120 kB
    ended = launch(replace(here, room="200k"))
    if ended.statuses == [77]:
        pytest.skip("this system lets nobody but root mount a file system")
    assert ended.statuses == [0], ended.printed
    warnings = [line for line in ended.printed[0] if "could not be written" in line]
    assert len(warnings) == 2 and all("No space left on device" in line for line in warnings)
    folder = Path(here.folder) / checkpoints.FOLDER
    folder.rmdir()  # what was mounted on it is gone with the process
    folder.with_name("left").rename(folder)
    resumes(here, straight, 2)
