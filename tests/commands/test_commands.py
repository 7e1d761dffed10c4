"""The entry of the command line: which command is meant, and the message for an unknown one."""

import pytest

from lit_pure.__main__ import COMMANDS, main


@pytest.mark.parametrize("words", [["nonsense", "run"], ["--traceback", "nonsense"], ["nonsense"]])
def test_a_word_that_is_no_command_is_told_all_that_are(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
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
