"""Commands in processes of their own: statuses, and signals that reach them once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.launch.local import Processes

WAITS = """
import os, signal, sys
seen = []
signal.signal(getattr(signal, sys.argv[1]), lambda number, frame: seen.append(number))
open(sys.argv[2], "w").close()  # a fifo: whoever reads it knows that the handler stands
while not seen:
    signal.pause()
sys.exit(40 + len(seen))
"""


def test_a_local_launch_returns_the_command_s_own_status() -> None:
    with Processes() as processes:
        assert processes.run([sys.executable, "-c", "raise SystemExit(3)"]) == 3
        assert processes.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == -9
        assert processes.run(["true"]) == 0
        assert not processes.received


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_reaches_the_command_once_and_is_remembered(tmp_path: Path, name: str) -> None:
    fifo, before = tmp_path / "ready", signal.getsignal(getattr(signal, name))
    os.mkfifo(fifo)
    teller = f"import os; open({str(fifo)!r}).close(); os.kill({os.getpid()}, {int(getattr(signal, name))})"
    with Processes() as processes, subprocess.Popen([sys.executable, "-c", teller]):
        assert processes.run([sys.executable, "-c", WAITS, name, str(fifo)]) == 41
        assert processes.received == getattr(signal, name)
    assert signal.getsignal(getattr(signal, name)) == before


def test_after_a_signal_nothing_is_started(tmp_path: Path) -> None:
    with Processes() as processes:
        os.kill(os.getpid(), signal.SIGINT)
        assert processes.run(["touch", str(tmp_path / "begun")]) == -signal.SIGINT
    assert not (tmp_path / "begun").exists()


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """`nohup` before a sweep: the end of the terminal reaches neither it nor its runs."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Processes() as processes:
            teller = f"import os; [os.kill(one, {int(signal.SIGHUP)}) for one in ({os.getpid()}, os.getpid())]"
            assert processes.run([sys.executable, "-c", teller]) == 0 and not processes.received
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process may outlive the one that started it")
def test_nothing_is_left_when_the_process_that_runs_it_is_killed() -> None:
    runs = "import sys; from lit_pure.launch.local import Processes\nwith Processes() as all: all.run(sys.argv[1:])"
    late = "signal.signal(signal.SIGALRM, lambda *_: print('still there')); signal.alarm(60)"
    waits = f"import signal; {late}; print('up', flush=True); signal.pause()"
    command = [sys.executable, "-c", runs, sys.executable, "-c", waits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        parent.kill()
        assert parent.stdout.read() == "", "the end comes when nobody could write any more"
    assert parent.returncode == -signal.SIGKILL
