"""`bench train`: what Lightning's Trainer, with all callbacks of a run, adds to a training step.

Two models of the same seed see the same batches in one process: one in our Trainer, one in a loop written by hand. They
take turns of a few steps, and in every second round the other one starts. So both meet the same load of the machine.
Knows turns and figures. Knows nothing of what is trained (`train_subjects.py`), or of the loop (`plain_loop.py`).
Prints nothing.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from lit_pure.bench.memory import MIB
from lit_pure.bench.plain_loop import PlainLoop
from lit_pure.bench.presets import NANO
from lit_pure.bench.timing import Meter, Turn, kept_bytes, turns_in_order
from lit_pure.bench.train_subjects import TrainSubject, on_photographs, on_random_codes
from lit_pure.config.pure import PureExperiment
from lit_pure.lit.callbacks.flops import peak_of
from lit_pure.lit.callbacks.protocols import Work
from lit_pure.lit.pure import ARModule
from lit_pure.lit.trainer import make_trainer
from lit_pure.runs import folder as runs
from lit_pure.runs.resume import RunPoint
from lit_pure.runs.stop import Stopped

TOLERANCE = {"cpu": 0.0, "cuda": 0.01}
"""Largest relative difference of two losses: a GPU adds gradients in no fixed order."""


@dataclass(frozen=True)
class WayResult:
    """The figures of one way of training."""

    way: str
    ms_per_step: float
    """Median over all steps that count."""
    images_per_second: float
    tokens_per_second: float
    """Without padding; from the median step, as `mfu`."""
    mfu: float | None
    """Model FLOP/s (`lit.callbacks.flops`) as a share of the device's peak, if that is known."""
    peak_mib: float | None
    """Of the device's tensors; None on a CPU."""


@dataclass(frozen=True)
class Comparison:
    """The figures of both ways."""

    parameters: int
    tokens: int
    """Mean of a step, without padding."""
    steps: int
    """Steps of each way that count."""
    rows: list[WayResult]
    ratio: float
    """Median step of the Trainer over that of the loop by hand."""
    ratio_of_rounds: float
    """Time of the Trainer in a round over that of the loop by hand; the median of the rounds."""
    lowest: float
    highest: float
    """Lowest and highest of a round."""
    ratio_of_processor_time: float
    """The same ratio of processor time, which other programs hardly change."""
    first_loss: float
    last_loss: float
    difference: float
    """Largest relative difference of two losses."""


def compare(preset: str, experiment: PureExperiment, device: torch.device, rounds: int, steps: int) -> Comparison:
    """Train both ways in turns.

    Args:
        preset: of `presets.PRESETS`; decides the data.
        experiment: from `presets.preset_experiment`.
        device: to train on.
        rounds: that count; one more comes before them for warm-up.
        steps: of each way in a round.

    Raises:
        ValueError: the losses differ, so the two ways did not do the same.
        Stopped: by a signal.
    """
    with tempfile.TemporaryDirectory(prefix="lit-pure-") as name:
        folder = Path(name)
        make = (
            on_photographs(experiment, folder / "tokenizer") if preset == NANO else on_random_codes(experiment, device)
        )
        turns = TakeTurns(make, turns_in_order(rounds), steps)
        subject = make()
        point = RunPoint(folder / "bench" / "version_0")
        point.folder.mkdir(parents=True)
        facts = runs.provenance(experiment.seed, {}, {}, ["lit-pure", "bench", "train"])
        trainer = make_trainer(experiment, subject.module, point, facts).trainer
        trainer.callbacks.append(turns)  # type: ignore[attr-defined]
        try:
            trainer.fit(subject.module, subject.data)
        except AllTurnsDone:
            pass
        except Stopped as stopped:  # its checkpoint is removed with the folder
            raise Stopped("stopped: figures exist only after the last round", stopped.status) from stopped
    parameters = sum(item.numel() for item in subject.module.backbone.parameters())
    return summarize(turns.done, turns.work, parameters, turns.peak_flops, TOLERANCE[device.type])


class AllTurnsDone(Exception):
    """All turns are over. An exception ends the Trainer without a last checkpoint."""


class TakeTurns(Callback):
    """Counts the Trainer's steps, and gives the loop by hand its turns in between. It must be the last callback."""

    def __init__(self, make: Callable[[], TrainSubject], turns: Sequence[Turn], steps: int) -> None:
        """`make`: makes a model and data for the loop. The first of the turns is the Trainer's."""
        assert turns[0].way == "trainer"
        self.make, self.waiting, self.steps = make, list(turns), steps
        self.done: list[Turn] = []
        self.work: list[Work] = []
        """Of each step; the same both ways."""
        self.peak_flops = 0.0
        self._loop: PlainLoop | None = None
        self._meter = Meter(torch.device("cpu"))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the other model, sharded as the Trainer's is, and start the clock."""
        assert isinstance(pl_module, ARModule)
        device, mesh, subject = trainer.strategy.root_device, pl_module.device_mesh, self.make()
        shards = None if mesh is None else mesh["data_parallel"]
        self._loop = PlainLoop(subject.module, subject.data, device, shards)
        self.peak_flops = pl_module.config.trainer.peak_flops or peak_of(trainer)
        self._meter = Meter(device)
        self._meter.begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step of the Trainer is over; at the end of its turn, the other way has its own."""
        assert isinstance(pl_module, ARModule) and self._loop is not None
        self._meter.step(outputs["loss"].detach())
        self.work.append(pl_module.work)
        if len(self.work) % self.steps:
            return
        self._end_turn(kept_bytes(self._loop.parameters, self._loop.optimizer))
        while self.waiting and self.waiting[0].way == "by hand":
            self._run_by_hand(self._loop, kept_bytes(pl_module.parameters(), trainer.optimizers[0]))
        if not self.waiting:
            raise AllTurnsDone
        self._meter.begin()

    def _run_by_hand(self, loop: PlainLoop, other_bytes: int) -> None:
        """A turn of the loop."""
        self._meter.begin()
        for _ in range(self.steps):
            self._meter.step(loop.step())
        self._end_turn(other_bytes)

    def _end_turn(self, other_bytes: int) -> None:
        """End the current turn. `other_bytes`: what the other way keeps on the device [byte]."""
        turn = self.waiting.pop(0)
        self._meter.end(turn, other_bytes)
        self.done.append(turn)


def summarize(
    done: Sequence[Turn], work: Sequence[Work], parameters: int, peak_flops: float, tolerance: float
) -> Comparison:
    """The figures of all turns. Raises ValueError if the relative difference of two losses exceeds `tolerance`."""
    trainer, by_hand = ([turn for turn in done if turn.way == way] for way in ("trainer", "by hand"))
    losses = [loss for turn in trainer for loss in turn.losses]
    difference = _difference(losses, [loss for turn in by_hand for loss in turn.losses], tolerance)
    counted = [turns[1:] for turns in (trainer, by_hand)]
    steps = sum(len(turn.seconds) for turn in counted[0])
    work = work[-steps:]
    each = Work(*(sum(values) / steps for values in zip(*map(astuple, work), strict=True)))
    rows = [_way_result(turns, each, peak_flops) for turns in counted]
    pairs = list(zip(*counted, strict=True))
    of_rounds = [sum(one.seconds) / sum(other.seconds) for one, other in pairs]
    return Comparison(
        parameters=parameters,
        tokens=round(each.tokens),
        steps=steps,
        rows=rows,
        ratio=rows[0].ms_per_step / rows[1].ms_per_step,
        ratio_of_rounds=statistics.median(of_rounds),
        lowest=min(of_rounds),
        highest=max(of_rounds),
        ratio_of_processor_time=statistics.median(one.processor / other.processor for one, other in pairs),
        first_loss=losses[0],
        last_loss=losses[-1],
        difference=difference,
    )


def _way_result(turns: Sequence[Turn], work: Work, peak_flops: float) -> WayResult:
    seconds = statistics.median(second for turn in turns for second in turn.seconds)
    peaks = [turn.peak for turn in turns if turn.peak is not None]
    return WayResult(
        way=turns[0].way,
        ms_per_step=1000 * seconds,
        images_per_second=work.images / seconds,
        tokens_per_second=work.tokens / seconds,
        mfu=work.flops / seconds / peak_flops if peak_flops else None,
        peak_mib=max(peaks) / MIB if peaks else None,
    )


def _difference(trainer: Sequence[float], by_hand: Sequence[float], tolerance: float) -> float:
    """The largest relative difference. Raises ValueError if it is above the tolerance, or a loss is NaN."""
    largest = 0.0
    for step, (one, other) in enumerate(zip(trainer, by_hand, strict=True)):
        difference = abs(one - other) / max(abs(other), 1e-30)
        if not difference <= tolerance:
            raise ValueError(
                f"step {step}: the Trainer's loss is {one!r}, that of the loop by hand {other!r}; they do not do the "
                "same, so there is no comparison: check that both were changed (lit/pure.py, bench/plain_loop.py)"
            )
        largest = max(largest, difference)
    return largest
