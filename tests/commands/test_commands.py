"""The entry of the command line: which command is meant, and the message for an unknown one."""

import subprocess
import sys

import pytest

from lit_pure import __version__
from lit_pure.__main__ import COMMANDS, main


@pytest.mark.parametrize("words", [["nonsense", "run"], ["--traceback", "nonsense"], ["nonsense"]])
def test_an_unknown_command_is_refused_with_all_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and "nonsense" in told
    assert all(f"'{name}'" in told for name in COMMANDS)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    told = capsys.readouterr().out
    assert stopped.value.code == 0
    assert all(name in told for name in COMMANDS)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"lit-pure {__version__}\n"


def test_asking_for_the_version_imports_no_command() -> None:
    code = (
        "import sys; from lit_pure.__main__ import parser; parser(['--version']); "
        "sys.exit('lit_pure.commands.run' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "words", [["gallery", "demo", "--pred", "x"], ["config", "demo", "--nosuch"], ["votes", "a", "-q"]]
)
def test_an_unknown_flag_is_refused_with_the_help_of_its_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and told.startswith(f"lit-pure {words[0]}: unrecognized arguments: {words[2]}")
    assert f"(see lit-pure {words[0]} --help)" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "the following arguments are required: experiment"),
        (["plan", "demo", "--gpu-memory", "80GB"], "--gpu-memory: a number without its unit is wanted, not '80GB'"),
        (["caption", "photos", "--batch", "2.5"], "--batch: a whole number is wanted, not '2.5'"),
    ],
)
def test_what_is_missing_or_no_number_is_told_in_words(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert f"{told} (see lit-pure {words[0]} --help)" in capsys.readouterr().err
