"""`bench gpu`: everything that only a GPU shows, in one command of at most nine minutes.

Knows flags, and what is printed. What is run is `bench/gpu_parts.py`'s, how is `bench/gpu.py`'s.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from lit_pure.bench.gpu import JSON, MARKDOWN, PartResult, run_parts
from lit_pure.bench.gpu_parts import gpu_parts, tiny_parts
from lit_pure.commands.figures import chosen_device, where_measured
from lit_pure.commands.parsing import Subparsers, add
from lit_pure.config.compose import ConfigError

OUT = Path("bench_gpu")


def arguments(what: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add `bench gpu`."""
    command = add(what, "gpu", gpu_command)
    command.add_argument("--out", type=Path, default=OUT, help=f"folder for {JSON} and {MARKDOWN} (default: {OUT})")
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu with --tiny (default: cuda)")
    command.add_argument("--tiny", action="store_true", help="seconds on a CPU, to rehearse the command")


def gpu_command(arguments: argparse.Namespace) -> int:
    """Run the tests of real kernels, then time decoding, training, degradation and restoring on a GPU.

    Each part is a process with a time limit, and its figures are written as soon as they are there: a part that fails
    or hangs costs only itself, and a run that is cut keeps what it had.
    """
    if (arguments.device == "cpu") != arguments.tiny:
        raise ConfigError("--device cpu and --tiny go together: the real sizes need a GPU, tiny ones say nothing of it")
    device = chosen_device(0)
    if arguments.device == "cuda" and device.type != "cuda":
        raise ConfigError("there is no CUDA device here; rehearse with --device cpu --tiny")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out}: is no folder")
    where = {**where_measured(device), "date": datetime.now(UTC).date().isoformat()}
    results = run_parts(tiny_parts() if arguments.tiny else gpu_parts(), arguments.out, where, _say)
    print(f"written: {arguments.out / JSON}, {arguments.out / MARKDOWN}")
    return 0 if all(result.outcome == "done" for result in results) else 1


def _say(result: PartResult) -> None:
    print(f"{result.seconds:5.0f} s  {result.name}: {result.outcome}", flush=True)
    for line in result.said if result.outcome != "done" else []:
        print(f"         {line}")
