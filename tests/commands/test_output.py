"""Output that is gone before the command is: a closed terminal, a pipe that nobody reads, a full disk."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="there are no such terminals here")

COMMAND = """
import argparse, signal, sys, time
from pathlib import Path
from tqdm import tqdm
from lit_pure import __main__

def work(arguments):
    for step in tqdm(range(20), file=sys.stdout, mininterval=0):
        print("at", step, flush=True)
        time.sleep(0.05)
    Path("done").touch()
    return 3

class Parser:
    def parse_known_args(self, argv):
        return argparse.Namespace(function=work, traceback=False), []

__main__.parser = lambda argv: Parser()
if sys.argv[1] == "ignoring":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.exit(__main__.main(["work"]))
"""


def closed(folder: Path, how: str) -> int:
    """The exit status of a command whose terminal is closed while it prints and shows a bar."""
    process, terminal = pty.fork()
    if not process:  # the first process of a session, to which the terminal belongs
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-c", textwrap.dedent(COMMAND), how])
    seen = b""
    while b"at 3" not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_a_closed_terminal_stops_a_command_with_the_status_of_sigterm(tmp_path: Path) -> None:
    assert closed(tmp_path, "listening") == 143
    assert not (tmp_path / "done").exists()


def test_a_command_that_ignores_its_terminal_s_end_goes_on_without_one(tmp_path: Path) -> None:
    assert closed(tmp_path, "ignoring") == 3
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(("words", "lines"), [("config --schema", 1), ("config demo", 1), ("config --schema", 0)])
def test_a_pipe_that_nobody_reads_is_no_error(words: str, lines: int) -> None:
    command = [sys.executable, "-m", "lit_pure", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in ((141,) if words == "config --schema" else (0, 141))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_the_output_is_an_error_in_a_line() -> None:
    command = [sys.executable, "-m", "lit_pure", "config", "demo"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space left" in done.stderr
