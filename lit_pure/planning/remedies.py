"""What would make an experiment fit: other settings, each with the memory that it would take by the same formulas.

Knows which settings take less memory, and their overrides. Knows no formula.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from operator import attrgetter

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import RestoringExperiment
from lit_pure.planning.plan import Plan

PER_MACHINE = 8
"""GPUs per machine, if more than one machine is needed."""
MOST_GPUS = 1024
START = "pure/official"
"""The run whose backbone gets adapters, if an experiment names no `needs.start`."""
SMALLER = 256
"""Side of smaller tiles [px]."""

EIGHT_BITS = "optim.states=8bit"

Measure = Callable[[RestoringExperiment, int], Plan]
"""The memory of an experiment on so many GPUs."""


@dataclass(frozen=True)
class Remedy:
    """Settings that take less memory."""

    words: str
    """What they are, in words."""
    overrides: tuple[str, ...]
    """What to type after the experiment's name."""
    asked: float
    """Memory with the requested micro-batch [bytes]."""
    batch: int
    """The largest micro-batch that fits, at most the requested one; 0 if not even one sample fits."""
    reached: float
    """Memory with the micro-batch that `overrides` set [bytes]."""


@dataclass(frozen=True)
class _Change:
    words: str
    overrides: tuple[str, ...]


def remedies(experiment: RestoringExperiment, gpus: int, room: float, measure: Measure) -> list[Remedy]:
    """What to try with `room` bytes per GPU: single settings, all of them, smaller tiles, adapters, more GPUs."""
    cheap = list(_cheap(experiment, gpus, measure(experiment, gpus).decoding > room))
    tried = []
    for change in _changes(experiment, gpus, cheap):
        with suppress(ConfigError):  # settings that do not fit each other, such as smaller tiles and NSARM's branches
            tried.append(_remedy(experiment, change, gpus, room, measure))
    return [*tried, *_more_gpus(experiment, gpus, room, measure, cheap)]


def gpu_overrides(experiment: RestoringExperiment, gpus: int) -> tuple[str, ...]:
    """Overrides for so many GPUs, on machines of 8 if there are more; none if the experiment has them already."""
    devices = gpus if gpus < PER_MACHINE or gpus % PER_MACHINE else PER_MACHINE
    trainer = experiment.trainer
    if trainer.devices.isdecimal() and int(trainer.devices) * trainer.num_nodes == gpus:
        return ()
    return (f"trainer.devices={devices}", f"trainer.num_nodes={gpus // devices}")


def _cheap(experiment: RestoringExperiment, gpus: int, decodes_too_many: bool) -> Iterator[_Change]:
    """Changes that keep what is trained, and how, except for rounding."""
    trainer, optim = experiment.trainer, experiment.optim
    if gpus > 1 and trainer.strategy != "fsdp":
        yield _Change("a piece per GPU", ("trainer.strategy=fsdp",))
    if trainer.precision == "32-true":
        yield _Change("bfloat16", ("trainer.precision=bf16-mixed",))
    if trainer.activation_checkpointing != "block":
        yield _Change("blocks computed again", ("trainer.activation_checkpointing=block",))
    if optim.states != "8bit":
        yield _Change("AdamW in 8 bits", (EIGHT_BITS,))
    if decodes_too_many and min(experiment.evaluation.pictures, experiment.data.eval_batch_size) > 1:
        yield _Change("one picture decoded at a time", ("data.eval_batch_size=1",))


def _changes(experiment: RestoringExperiment, gpus: int, cheap: Sequence[_Change]) -> Iterator[_Change]:
    yield _Change("a smaller micro-batch", ())
    yield from cheap
    together = _all_overrides(cheap)
    if len(cheap) > 1:
        yield _Change("all of these", tuple(together))
    smaller = [f"data.size={SMALLER}"] if experiment.data.size > SMALLER else []
    if smaller:
        yield _Change("all of these, smaller tiles", (*together, *smaller))
    start = [] if experiment.needs.start else [f"needs.start={START}"]
    kept = [item for item in together if item != EIGHT_BITS]  # adapters have few moments, so 8 bits save little
    if gpus == 1 and experiment.trainer.strategy == "fsdp":
        kept.append("trainer.strategy=auto")  # a gathered copy would come on top of the only shard
    kinds = {"lora": "LoRA", "qlora": "QLoRA"}
    adapter = getattr(experiment, "adapter", None)  # not every family has adapters
    for kind in [kind for kind in kinds if adapter and adapter.kind not in (kind, "qlora")]:
        settings = (f"adapter.kind={kind}", *start, *kept)
        yield _Change(kinds[kind], settings)
        if smaller:
            yield _Change(f"{kinds[kind]}, smaller tiles", (*settings, *smaller))


def _all_overrides(cheap: Sequence[_Change]) -> list[str]:
    return [item for change in cheap for item in change.overrides]


def _remedy(experiment: RestoringExperiment, change: _Change, gpus: int, room: float, measure: Measure) -> Remedy:
    changed = _with(experiment, change.overrides)
    asked = experiment.data.batch_size
    memory = measure(changed, gpus)
    fitting = memory.largest_batch(room, asked) if memory.decoding <= room else 0
    # A divisor, so that accumulation keeps the size of a step.
    batch = next((size for size in range(max(1, fitting), 0, -1) if asked % size == 0), 1)
    smaller = (
        () if batch == asked else (f"data.batch_size={batch}", f"trainer.accumulate={_accumulate(changed, batch)}")
    )
    reached = memory.with_batch(batch)
    return Remedy(change.words, (*change.overrides, *smaller), memory.peak, fitting, reached.peak)


def _accumulate(experiment: RestoringExperiment, batch: int) -> int:
    return experiment.trainer.accumulate * experiment.data.batch_size // batch


def _with(experiment: RestoringExperiment, overrides: Sequence[str]) -> RestoringExperiment:
    """A copy with the overrides applied; unlike `config.compose.override`, fast and unchecked."""
    changed = deepcopy(experiment)
    for item in overrides:
        key, _, value = item.partition("=")
        section, _, name = key.rpartition(".")
        owner = attrgetter(section)(changed)
        setattr(owner, name, type(getattr(owner, name))(value))
    return changed


def _more_gpus(
    experiment: RestoringExperiment, gpus: int, room: float, measure: Measure, cheap: Sequence[_Change]
) -> Iterator[Remedy]:
    """The fewest GPUs, a power of two, on which training fits with all cheap changes."""
    sharded = dict.fromkeys(["trainer.strategy=fsdp", *_all_overrides(cheap)])
    count = 2
    while count <= MOST_GPUS:
        if count > gpus:
            change = _Change(f"{count} GPUs, all of these", (*sharded, *gpu_overrides(experiment, count)))
            remedy = _remedy(experiment, change, count, room, measure)
            if remedy.batch:
                yield remedy
                return
        count *= 2
