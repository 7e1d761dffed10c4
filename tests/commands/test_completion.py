"""What TAB completes: asked as a shell asks, through argcomplete's own protocol."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.__main__ import COMMANDS
from lit_pure.config.compose import PROJECT, experiment_names

WITHOUT = "import sys; sys.modules['argcomplete'] = None; from lit_pure.__main__ import main; main()"


def ask(line: str, folder: Path, *program: str) -> tuple[set[str], str]:
    """The completions of a line, as bash with its usual breaks of words takes them, and what else is written."""
    answer = folder / "answer"
    answer.touch()
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    command = [sys.executable, *(program or ("-m", "lit_pure"))]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    return {word.strip() for word in answer.read_text().split("\013") if word}, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with two runs, one of them finished."""
    for name in ("demo/version_0", "demo/version_1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("summary.json", "config.yaml", "provenance.json"):
        (tmp_path / "runs" / "demo" / "version_0" / name).write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lit-pure ", set(COMMANDS)),
        ("lit-pure re", {"restore", "reconstruct", "report"}),
        ("lit-pure --vers", {"--version"}),
        ("lit-pure run ", set(experiment_names())),
        (
            "lit-pure run tokenizer/",
            {f"tokenizer/nano{more}" for more in ("", "_photo", "_photo_gpu", "_photo_long")}
            | {"tokenizer/official", "tokenizer/paper"},
        ),
        ("lit-pure sweep sweeps/codes/", {"sweeps/codes/codes=512"}),
        ("lit-pure run demo sampling.k", {"sampling.k=", "sampling.k_min=", "sampling.k_max="}),
        ("lit-pure plan demo seed=1 data.test.demo.c", {"data.test.demo.crops=", "data.test.demo.captions="}),
        ("lit-pure run dem/nano dem.b", {"dem.blocks="}),
        ("lit-pure run dem/nano sampling.", set()),
        ("lit-pure config demo sampling.top_k=", {"dynamic", "fixed"}),
        ("lit-pure config demo trainer.compile=t", {"true"}),
        ("lit-pure config demo optim.lr=", {"0.0002"}),
        (
            "lit-pure config demo base=pure/n",
            {f"pure/{name}" for name in ("nano", "nano_long", "nano_photo", "nano_photo_gpu", "nano_photo_long")},
        ),
        ("lit-pure config demo needs.start=de", {"demo", "demo/version_0", "dem/bsds500", "dem/bsds500/shipped"}),
        ("lit-pure gallery demo", {"demo", "demo/version_0"}),
        ("lit-pure bench restore --run demo/", {"demo/version_0"}),
        ("lit-pure sweep sweeps/codes --launcher ", {"here", "slurm"}),
    ],
)
def test_tab_completes(line: str, words: set[str], folder: Path) -> None:
    pytest.importorskip("argcomplete")
    assert ask(line, folder) == (words, "")


def test_of_an_experiment_that_cannot_be_read_the_knobs_of_all_families_come(folder: Path) -> None:
    pytest.importorskip("argcomplete")
    assert ask("lit-pure run nosuch vq.cod", folder)[0] == {"vq.codes=", "vq.code_dim="}


def test_without_argcomplete_nothing_is_completed_and_all_else_works(folder: Path) -> None:
    assert ask("lit-pure ru", folder, "-c", WITHOUT)[0] == set()
    command = [sys.executable, "-c", WITHOUT, "config", "demo"]
    assert subprocess.run(command, cwd=PROJECT, capture_output=True).returncode == 0
