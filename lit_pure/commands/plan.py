"""`plan`: the memory that a training needs, by part, and what would fit. Imports no torch, trains nothing."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_pure.commands.figures import write
from lit_pure.commands.parsing import Subparsers, add, print_table
from lit_pure.commands.paths import require_writable_files
from lit_pure.config.compose import ConfigError, compose, files_of, override
from lit_pure.config.experiment import Experiment
from lit_pure.families.table import family_of
from lit_pure.planning.plan import CONTEXT, FRAGMENTATION, GB, PARTS, Plan
from lit_pure.planning.remedies import Remedy, gpu_overrides, remedies
from lit_pure.planning.restoring import savings


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "plan", plan_command)
    command.add_argument("experiment", help="path below experiments/ without .yaml, for example pure/paper")
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="for example data.batch_size=2")
    command.add_argument("--gpus", type=int, metavar="N", help="GPUs on all machines (default: devices x num_nodes)")
    command.add_argument("--gpu-memory", type=float, required=True, metavar="GB", help="memory of one GPU [10^9 bytes]")
    command.add_argument("--restore", action="store_true", help="what restoring photographs needs, instead of training")
    command.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")


def plan_command(arguments: argparse.Namespace) -> int:
    """Show how much memory a training needs per GPU, by part, whether it fits, and what would fit otherwise.

    With --restore: the same for restoring photographs with the experiment's weights.
    """
    read = files_of(arguments.experiment, arguments.overrides) if arguments.json else []
    require_writable_files({"--json": arguments.json}, read)
    if not arguments.gpu_memory > 0:
        raise ConfigError(f"--gpu-memory {arguments.gpu_memory:g}: expected GB above 0, for example 80")
    if arguments.restore and arguments.gpus is not None:
        raise ConfigError(f"--gpus {arguments.gpus} is for a training: restoring takes as much on each; leave it out")
    composed = compose(arguments.experiment, arguments.overrides)
    if arguments.restore:
        return _plan_restoring(composed, arguments)
    family = family_of(composed)
    experiment, measure = family.check_plan(composed), family.memory
    gpus = _gpus(experiment, arguments.gpus)
    room = arguments.gpu_memory * GB
    memory = measure(experiment, gpus)
    fits = memory.peak <= room
    _show(experiment, memory)
    _tell(memory, arguments.gpu_memory)
    found = [] if fits else remedies(experiment, gpus, room, measure)
    if found:
        _show_remedies(found, memory.setting.batch)
    # `auto` takes all GPUs that there are.
    if (typed := gpu_overrides(experiment, gpus)) and experiment.trainer.devices != "auto":
        print(f"for {_gpus_in_words(gpus)}, also type: {' '.join(typed)}")
    write(arguments.json, _report(experiment, memory, room, found))
    return 0 if fits else 1


def _plan_restoring(experiment: Experiment, arguments: argparse.Namespace) -> int:
    measure = family_of(experiment).restoring_memory
    memory, room = measure(experiment), arguments.gpu_memory * GB
    fits = memory.peak <= room
    setting = memory.setting
    print(f"{experiment.name}: restores {memory.squares} squares of {setting.size} px at a time; GB on one GPU")
    for note in setting.notes:
        print(note)
    moments = memory.moments
    parts = dict.fromkeys(part for found in moments.values() for part in found)
    rows = [["", *moments]]
    rows += [[part, *(_gb(found[part]) if part in found else "" for found in moments.values())] for part in parts]
    rows.append(["total, with reserve", *(_gb(memory.total(name)) for name in moments)])
    print_table(rows, range(1, len(moments) + 1))
    verdict = "fits" if fits else "does not fit"
    print(f"{verdict}: {_gb(memory.peak)} of {arguments.gpu_memory:g} GB, the peak in: {memory.peak_moment}")
    found = [] if fits else list(savings(lambda changes: measure(override(experiment, changes)), room))
    if found:
        print("\nwhat takes less (type it behind the experiment's name, or restore with --set):")
        rows = [["change", "GB then", "fits", "type"]]
        for one in found:
            rows.append([one.words, _gb(one.peak), "yes" if one.peak <= room else "no", " ".join(one.overrides)])
        print_table(rows, (1,))
    figures = {"moments": moments, "peak": memory.peak, "savings": [vars(one) for one in found]}
    head = {"experiment": experiment.name, "gpu_memory": room, "fits": fits, "squares": memory.squares}
    write(arguments.json, head | figures)
    return 0 if fits else 1


def _gpus(experiment: Experiment, asked: int | None) -> int:
    if asked is None:
        devices = experiment.trainer.devices
        count = int(devices) if devices.isdecimal() else len([item for item in devices.split(",") if item.isdecimal()])
        if not count:
            raise ConfigError(f"trainer.devices = {devices} is not a number; give the number of GPUs: --gpus 8")
        return count * experiment.trainer.num_nodes
    if asked < 1:
        raise ConfigError(f"--gpus {asked}: give 1 or more")
    return asked


def _show(experiment: Experiment, memory: Plan) -> None:
    """Parts down, moments across."""
    setting = memory.setting
    how = f"a shard of the {setting.trained} on each" if setting.sharded else f"the whole {setting.trained} on each"
    print(f"{experiment.name}: {_gpus_in_words(setting.gpus)}, {how}; GB per GPU")
    print(
        f"a micro-batch of {setting.batch} samples of at most {setting.length:,} tokens, {setting.labels:,} of them "
        f"trained on; {setting.vocabulary:,} {setting.outputs}"
    )
    for note in setting.notes:
        print(note)
    names = list(memory.moments)
    rows = [["", *names]]
    for part in PARTS[:-1]:
        figures = [memory.moments[name].get(part, 0.0) for name in names]
        if any(figures):
            rows.append([part, *(_gb(figure) if figure else "" for figure in figures)])
    rows.append([PARTS[-1], *(_gb(memory.reserve(name)) for name in names)])
    rows.append(["total", *(_gb(memory.total(name)) for name in names)])
    print_table(rows, range(1, len(names) + 1))
    print(
        f"loss and head at {setting.length:,} trained positions and {setting.vocabulary:,} {setting.outputs}, "
        f"in float32: {_gb(memory.loss_and_head)} GB besides the head's weights and their gradient"
    )
    print(
        f"reserve: {CONTEXT / GB:g} GB for CUDA and its libraries, {FRAGMENTATION:.0%} of all tensors for fragmentation"
    )


def _tell(memory: Plan, gpu_memory: float) -> None:
    setting, room = memory.setting, gpu_memory * GB
    fits = "fits" if memory.training <= room else "does not fit"
    height = memory.peak_moment(decodes=False)
    largest = memory.largest_batch(room) or "none, not even one sample fits"
    print(
        f"\ndata.batch_size={setting.batch} {fits}: {_gb(memory.training)} of {gpu_memory:g} GB, the peak in: {height}"
    )
    print(f"largest micro-batch that fits: {largest}")
    for moment, pictures in (("validation", setting.shown), ("test", setting.tested)):
        if moment in memory.moments:
            fits = "fit" if memory.total(moment) <= room else "do not fit"
            print(f"{pictures} pictures decoded at a time in the {moment} {fits}: {_gb(memory.total(moment))} GB")


def _show_remedies(found: Sequence[Remedy], batch: int) -> None:
    rows = [["change", f"GB with {batch}", "fits", "GB then", "type"]]
    for remedy in found:
        fits = str(remedy.batch or "no")
        rows.append([remedy.words, _gb(remedy.asked), fits, _gb(remedy.reached), " ".join(remedy.overrides)])
    print("\nwhat would fit (samples at once, at most the requested number; the size of a step stays the same):")
    print_table(rows, (1, 2, 3))


def _gpus_in_words(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _gb(count: float) -> str:
    return f"{count / GB:.2f}" if count < 10 * GB else f"{count / GB:.1f}"


def _report(experiment: Experiment, memory: Plan, room: float, found: Sequence[Remedy]) -> dict[str, Any]:
    """All figures in bytes."""
    setting = memory.setting
    return {
        "experiment": experiment.name,
        "gpus": setting.gpus,
        "gpu_memory": room,
        "fits": memory.peak <= room,
        "batch_size": setting.batch,
        "largest": memory.largest_batch(room),
        "tokens": setting.length,
        "labels": setting.labels,
        "vocabulary": setting.vocabulary,
        "training": memory.training,
        "decoding": memory.decoding,
        "moments": {name: parts | {"reserve": memory.reserve(name)} for name, parts in memory.moments.items()},
        "loss_and_head": memory.loss_and_head,
        "remedies": [vars(remedy) for remedy in found],
    }
