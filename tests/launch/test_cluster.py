"""The stand-in for SLURM is as strict as SLURM: what follows is from sbatch's manual and its parser."""

import pytest

from tests.launch.cluster import Refused, indexes, parsed


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--time=5", {"time": "5"}),
        ("--time=2-12 --mem=64G  # words behind a sign", {"time": "2-12", "mem": "64G"}),
        ("--comment='two words # no comment'", {"comment": "two words # no comment"}),
        ("--array=0-15:4,17%2", {"array": "0-15:4,17%2"}),
        ("--dependency=afterok:20:21,afterany:23", {"dependency": "afterok:20:21,afterany:23"}),
        ("--signal=B:USR1@60 --requeue --exclusive", {"signal": "B:USR1@60", "requeue": "", "exclusive": ""}),
        ("--gres=gpu:a100:4,nvme --exclusive=user", {"gres": "gpu:a100:4,nvme", "exclusive": "user"}),
        ("--gpus-per-node=a100:4 --nodes=2-4", {"gpus-per-node": "a100:4", "nodes": "2-4"}),
    ],
)
def test_the_double_of_slurm_takes_what_slurm_takes(line: str, options: dict[str, str]) -> None:
    assert parsed(f"#!/bin/bash\n\n#SBATCH {line}\nsrun true\n#SBATCH --nonsense\n") == options


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#SBATCH --time=5", "first line must start with #!"),
        ("#!/bin/sh\n#SBATCH --timeout=5", "unrecognized option '--timeout'"),
        ("#!/bin/sh\n#SBATCH --cpus_per_task=5", "unrecognized option"),
        ("#!/bin/sh\n#SBATCH --time", "requires an argument"),
        ("#!/bin/sh\n#SBATCH --requeue=yes", "doesn't allow an argument"),
        ("#!/bin/sh\n#SBATCH --time=2 hours", "is no long option"),
        ("#!/bin/sh\n#SBATCH --time=2h", "Invalid --time"),
        ("#!/bin/sh\n#SBATCH --mem=64 --mem-per-gpu=4G", "mutually exclusive"),
        ("#!/bin/sh\n#SBATCH --mem=lots", "Invalid --mem"),
        ("#!/bin/sh\n#SBATCH --array=0..3", "Invalid --array"),
        ("#!/bin/sh\n#SBATCH --gpus-per-node=", "Invalid --gpus-per-node"),
        ("#!/bin/sh\n#SBATCH --dependency=tokenizer/nano", "Invalid --dependency"),
        ("#!/bin/sh\n#SBATCH --comment='open", "Unmatched quote"),
    ],
)
def test_the_double_of_slurm_refuses_what_slurm_refuses(script: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        parsed(script)


def test_the_double_of_slurm_counts_the_elements_of_an_array() -> None:
    assert indexes("0-3%2") == [0, 1, 2, 3] and indexes("1,4-8:2") == [1, 4, 6, 8]
