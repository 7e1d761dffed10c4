"""`bench train`: what our Trainer adds to a training step, and how well a GPU is used.

Knows flags, and what is printed.
"""

import argparse
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from lit_pure.bench.presets import LARGE, NANO, PRESETS, preset_experiment
from lit_pure.commands.figures import chosen_device, show, where_measured, write
from lit_pure.commands.parsing import Subparsers, add, add_settings
from lit_pure.commands.paths import require_writable_files
from lit_pure.config.compose import ConfigError

if TYPE_CHECKING:
    from lit_pure.bench.training import Comparison
    from lit_pure.config.pure import PureExperiment

GOAL = 1.05
"""Times that a step of our Trainer may take of one by hand."""


def arguments(what: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `bench train`."""
    command = add(what, "train", train_command)
    command.add_argument("--preset", choices=PRESETS, default=NANO, help=f"what to train (default: {NANO})")
    command.add_argument("--rounds", type=int, default=5, help="rounds that count; one more warms up (default: 5)")
    command.add_argument("--steps", type=int, default=10, help="steps of each loop in a round (default: 10)")
    command.add_argument("--batch", type=int, default=0, help="samples in a step (default: the preset's)")
    command.add_argument("--compile", action="store_true", help="compile the blocks with torch.compile")
    command.add_argument(
        "--activation-checkpointing",
        choices=("none", "block", "selective"),
        help="what is recomputed in the backward pass (default: none)",
    )
    command.add_argument(
        "--peak-flops", type=float, default=0.0, help="peak FLOP/s of the device, for MFU (default: from our table)"
    )
    add_settings(command, "settings of the experiment, for example trainer.strategy=fsdp backbone.layers=8")
    return command


def train_command(arguments: argparse.Namespace) -> int:
    """Compare our Trainer with a hand-written loop, in alternation, on the same model and the same batches.

    nano is the experiment pure/nano on a CPU, including photographs and degradation; 1b and 7b-layer are backbones on
    random ids, 8.4k per sample, and need CUDA. Different losses of the two loops are an error.
    """
    experiment = _experiment(arguments)
    require_writable_files({"--json": arguments.json})
    device = chosen_device(arguments.threads)
    if arguments.preset in LARGE and device.type != "cuda":
        raise ConfigError(f"--preset {arguments.preset} needs a CUDA device with 80 GB; on a CPU, use --preset {NANO}")
    import torch

    from lit_pure.bench.training import compare

    if arguments.preset == NANO:
        device = torch.device("cpu")
    with redirect_stdout(sys.stderr):  # the Trainer's bar
        found = compare(arguments.preset, experiment, device, arguments.rounds, arguments.steps)
    show([vars(row) for row in found.rows])
    _tell(found, experiment, device)
    settings = {
        "precision": experiment.trainer.precision,
        "strategy": experiment.trainer.strategy,
        "compile": experiment.trainer.compile,
        "activation_checkpointing": experiment.trainer.activation_checkpointing,
        "batch": experiment.data.batch_size,
        "set": arguments.set,
    }
    about = {"preset": arguments.preset, "rounds": arguments.rounds, **settings, **where_measured(device)}
    write(arguments.json, {**about, **vars(found), "rows": [vars(row) for row in found.rows]})
    return 0


def _experiment(arguments: argparse.Namespace) -> "PureExperiment":
    """What the flags ask for. Raises ConfigError."""
    if min(arguments.rounds, arguments.steps) < 1 or min(arguments.batch, arguments.threads) < 0:
        asked = f"--rounds {arguments.rounds} --steps {arguments.steps} --batch {arguments.batch}"
        raise ConfigError(f"{asked} --threads {arguments.threads}: give 1 or more of each")
    if arguments.peak_flops < 0:
        raise ConfigError(f"--peak-flops {arguments.peak_flops:g}: expected FLOP/s, for example 989e12")
    flags = {
        "data.batch_size": arguments.batch,
        "trainer.compile": arguments.compile,
        "trainer.activation_checkpointing": arguments.activation_checkpointing,
        "trainer.peak_flops": arguments.peak_flops,
    }
    overrides = [f"{key}={value}" for key, value in flags.items() if value]
    return preset_experiment(arguments.preset, [*overrides, *arguments.set], (arguments.rounds + 1) * arguments.steps)


def _tell(found: "Comparison", experiment: "PureExperiment", device: Any) -> None:
    """What the table does not say."""
    trainer = experiment.trainer
    print(
        f"{found.parameters / 1e6:,.1f} M parameters, {found.tokens:,} tokens a step; {trainer.precision}, "
        f"compile {'on' if trainer.compile else 'off'}, activation checkpointing {trainer.activation_checkpointing}"
    )
    same = "bit for bit" if not found.difference else f"to {found.difference:.1e}"
    print(f"losses agree {same}: {found.first_loss:.4f} first, {found.last_loss:.4f} last")
    print(
        f"a median step of the Trainer takes {found.ratio:.3f} times as long as one by hand (goal: at most {GOAL}); "
        f"whole rounds {found.ratio_of_rounds:.3f} times ({found.lowest:.3f} to {found.highest:.3f}), "
        f"processor time {found.ratio_of_processor_time:.3f} times"
    )
    if device.type == "cpu":
        print("the visual tokenizer has random weights, which does not affect these figures")
