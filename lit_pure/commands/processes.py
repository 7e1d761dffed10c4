"""Commands over many files in several processes: their flags, how many there are, and how each process ends.

Knows argparse, and what torchrun and SLURM say in the environment. Knows nothing of what is done with a file. A command
that runs alone imports nothing of Lightning.
"""

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.commands.device import device
from lit_pure.commands.parsing import whole_number
from lit_pure.config.compose import COMMAND_LINE, ConfigError
from lit_pure.config.training import TrainerConfig
from lit_pure.files.work import ForEach, InTurn, Item, Outcome, Receive, Work
from lit_pure.metrics.files import MissingWeights
from lit_pure.runs.folder import MissingRun
from lit_pure.runs.stop import INTERRUPTED, Stopped, first_process

if TYPE_CHECKING:
    from lit_pure.lit.predict_files import Processes

Command = Callable[[argparse.Namespace, ForEach], int]
"""Takes the parsed arguments and who does the work on files, gives the exit code."""
LAUNCHERS = {"TORCHELASTIC_RUN_ID": "torchrun", "SLURM_NTASKS": "SLURM"}
"""What starts all processes at once, by a variable that it sets."""
THREADS = "OMP_NUM_THREADS"


def add_processes(command: argparse.ArgumentParser, more: str = "") -> None:
    """Add the flags; `more` is added to the help of --workers."""
    group = command.add_argument_group(
        "processes",
        "The result does not depend on them. torchrun and SLURM need no flag: each process takes its share.",
    )
    number, one = group.add_mutually_exclusive_group(), whole_number(1)
    number.add_argument("--devices", type=one, metavar="N", help="GPUs, a process for each (default: 1)")
    number.add_argument("--workers", type=one, metavar="N", help=f"on a CPU, processes{more} (default: 1)")
    group.add_argument(
        "--num-nodes", type=one, metavar="N", help="machines, of torchrun or SLURM (default: all of them)"
    )


def over_processes(arguments: argparse.Namespace, command: Command, *, on_cpu: bool = False) -> int:
    """Call `command` in the first of as many processes as are asked for; the exit code.

    Args:
        arguments: with the flags of `add_processes`.
        command: what one process decides, prints and writes. What it refuses before any work costs no import.
        on_cpu: whether the work is done on the CPU, also beside a GPU.

    Raises ConfigError where another number of processes was started, or there are too few devices.
    """
    asked, size = arguments.workers or arguments.devices or 1, _launched(arguments)
    if size is None and asked == 1:
        return command(arguments, InTurn((lambda: "cpu") if on_cpu else device))
    _prepare_threads()
    # A process that the first one has started is one of as many as that one has found work for.
    nodes, count = size or (1, asked if first_process() else int(os.environ["WORLD_SIZE"]))

    def connect() -> "Processes":
        from lit_pure.lit.predict_files import Processes

        quiet_lightning()
        accelerator = "cpu" if on_cpu else _accelerator(arguments)
        return Processes(TrainerConfig(accelerator=accelerator, devices=str(count), num_nodes=nodes, strategy="ddp"))

    if not first_process():
        connect().follow()
    each = _Several(connect)
    if size is not None:
        each.connect()  # the others wait for the first one
    try:
        status = command(arguments, each)
    except BaseException as error:
        each.end(_status_of(error))
        raise
    each.end(status)
    return status


class _Several:
    """Several processes, which are connected, or started, when there is work."""

    alone = False

    def __init__(self, connect: "Callable[[], Processes]") -> None:
        self._connect, self._processes = connect, list["Processes"]()

    def connect(self) -> "Processes":
        self._processes = self._processes or [self._connect()]
        return self._processes[0]

    def __call__(self, work: Work[Item, Outcome], items: Sequence[Item], receive: Receive[Outcome]) -> None:
        self.connect()(work, items, receive)

    def end(self, status: int) -> None:
        for processes in self._processes:
            processes.end(status)


def quiet_lightning() -> None:
    """Importing Lightning made it announce devices and tips, and print each line beside our own; its warnings stay."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).handlers.clear()


def _launched(arguments: argparse.Namespace) -> tuple[int, int] | None:
    """Machines, and processes on each of them, that torchrun or SLURM started; None without them.

    Raises ConfigError where the flags say something else.
    """
    launcher = next((name for variable, name in LAUNCHERS.items() if variable in os.environ), "")
    if launcher:
        _prepare_threads()
        from lit_pure.lit.distributed.processes import launched_size

        if size := launched_size():
            _require_equal(arguments, launcher, *size)
            return size
    if (arguments.num_nodes or 1) > 1:
        raise ConfigError(
            f"{COMMAND_LINE}: --num-nodes {arguments.num_nodes}: start the command by torchrun or SLURM on all machines"
        )
    return None


def _require_equal(arguments: argparse.Namespace, launcher: str, nodes: int, count: int) -> None:
    """Raises ConfigError where the flags say something else than what was started."""
    started = {"devices": count, "workers": count, "num_nodes": nodes}
    for name, number in started.items():
        if getattr(arguments, name) not in (None, number):
            flag = f"--{name.replace('_', '-')} {getattr(arguments, name)}"
            raise ConfigError(
                f"{COMMAND_LINE}: {flag}: {launcher} has started {count} processes on each of {nodes} machines; "
                "leave the flag out"
            )


def _accelerator(arguments: argparse.Namespace) -> str:
    """Lightning's name of what this machine computes on. Raises ConfigError where that is not what the flags need."""
    import torch

    kind = device().type
    if kind == "cpu":
        return "cpu"
    if arguments.workers:
        raise ConfigError(
            f"{COMMAND_LINE}: --workers {arguments.workers}: this machine computes on {kind}, one process a device; "
            f"take --devices {arguments.workers}"
        )
    if (arguments.devices or 1) > (count := torch.accelerator.device_count()):
        raise ConfigError(
            f"{COMMAND_LINE}: --devices {arguments.devices}: this machine has {count}; take as many at most"
        )
    return kind


def _prepare_threads() -> None:
    """Let several processes compute as one does, each with its number of threads; before torch is imported.

    Sums over other numbers of threads round differently. Threads that wait without spinning leave the cores to other
    processes.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if os.environ.get(THREADS) == "1" and "TORCHELASTIC_RUN_ID" in os.environ and not _is_set_for_torchrun():
        del os.environ[THREADS]


def _is_set_for_torchrun() -> bool:
    """Whether a number of threads was set by who started torchrun, which sets 1 where there is none."""
    try:
        variables = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    except OSError:
        return True
    return any(variable.startswith(f"{THREADS}=".encode()) for variable in variables)


def _status_of(error: BaseException) -> int:
    """The exit code of a command that raises this."""
    if isinstance(error, Stopped):
        return error.status
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return INTERRUPTED
    return 2 if isinstance(error, ConfigError | MissingRun | MissingWeights) else 1
