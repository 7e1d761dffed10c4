"""How fast a training is, and how much of a step goes into its data.

Knows the hooks between which a step waits for its batch, has it made on the device, and learns from it, and what
modules report of a step (`protocols.py`). Knows nothing of what a batch is. Times are those of the host, which waits
for the device only where something is logged: on a GPU some of the waiting is hidden behind the step before, so that
shares of a step are upper bounds.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.utils.flop_counter import FlopCounterMode

from lit_pure.lit.callbacks.batch_index import first_length
from lit_pure.lit.callbacks.flops import peak_of
from lit_pure.lit.callbacks.protocols import HandsOver, TellsWork, Work

WINDOW = 50
"""Steps that a logged figure is taken over."""


@dataclass(frozen=True)
class Step:
    """Where the time of one step went [s], and what was done in it."""

    waited: float = 0.0
    """For the loader: decoding and cropping that was not ready."""
    made: float = 0.0
    """Moving the batch, degrading it, scoring it."""
    whole: float = 0.0
    images: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0


class Throughput(Callback):
    """Logs `train/...`, over a window of steps and all processes.

    - `data_wait`, `data_made`: shares of the step that go into waiting for the loader, and into what a data module that
      tells when it was handed its batch (`HandsOver`) does with it.
    - `images_per_second`: as the module tells (`TellsWork`), else by the length of the batch's first tensor.
    - `tokens_per_second`: as the module tells; else left out.
    - `mfu`: model FLOP/s as a share of what the devices could. FLOP are told by the module, else counted by torch in
      the first step (what torch has no formula for is not in it: attention on a CPU). Left out where the device's peak
      is unknown.

    Steps with a validation or a checkpoint before them are left out, as is the first one.
    """

    def __init__(self, peak_flops: float = 0.0) -> None:
        """`peak_flops`: of one device [FLOP/s]; 0 takes what Lightning knows of it."""
        self.peak_flops = peak_flops
        self.steps = 0
        """Steps that were counted."""
        self._peak = 0.0
        self._counter: FlopCounterMode | None = None
        self._flops_per_image = 0.0
        self._whole = self._all = Step()
        self._window: deque[Step] = deque(maxlen=WINDOW)
        self._batches, self._world = 0, 1
        self._end: float | None = None
        self._handed_over = self._began = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is counted yet; what a checkpoint knows comes after this."""
        self._whole = self._all = Step()
        self.steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training begins, or goes on."""
        self._peak, self._world = self.peak_flops or peak_of(trainer), trainer.world_size
        self._window.clear()
        self._batches = 0
        self._end, self._flops_per_image = None, 0.0

    @property
    def state_key(self) -> str:
        """Two that assume different peaks can stand side by side."""
        return self._generate_state_key(peak_flops=self.peak_flops)

    def state_dict(self) -> dict[str, Any]:
        """For a training that goes on: what was counted so far, on the first process."""
        return {"steps": self.steps, "all": list(astuple(self._all))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.steps, self._all = int(state_dict["steps"]), Step(*state_dict["all"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch is ready."""
        data = getattr(trainer, "datamodule", None)
        self._began = time.perf_counter()
        self._handed_over = data.handed_over if isinstance(data, HandsOver) else self._began
        if not self._batches and self._peak and not isinstance(pl_module, TellsWork):
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done."""
        work = self._work(pl_module, batch)
        self._batches += 1
        logs = _is_logged(trainer, pl_module)
        if logs and trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize(trainer.strategy.root_device)
        now = time.perf_counter()
        if self._end is not None:
            waited, made = self._handed_over - self._end, self._began - self._handed_over
            step = Step(waited, made, now - self._end, work.images, work.tokens, work.flops)
            self.steps += 1
            self._all = _sum([self._all, step])
            self._window.append(step)
        # All processes come here together: they take the same steps, and leave out the same ones.
        if logs and self._window:
            for name, value in self._figures(_sum_of_all(trainer, _sum(self._window))).items():
                pl_module.log(name, value)
        self._end = time.perf_counter() if logs else now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What comes now is no waiting."""
        self._end = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Nor is this."""
        self._end = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up what all processes did."""
        self._whole = _sum_of_all(trainer, self._all)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Count no longer."""
        self._counted()

    def row(self) -> dict[str, float]:
        """The same figures over the whole training; empty without one."""
        return {name: float(f"{value:.4g}") for name, value in self._figures(self._whole).items()}

    def _work(self, module: LightningModule, batch: Any) -> Work:
        """What the step took."""
        if isinstance(module, TellsWork):
            return module.work
        images = first_length(batch)
        if flops := self._counted():
            self._flops_per_image = flops / max(images, 1)
        return Work(images=images, flops=self._flops_per_image * max(images, 1))

    def _counted(self) -> float:
        """FLOP since the counter began; 0 where there is none."""
        if self._counter is None:
            return 0.0
        counter, self._counter = self._counter, None
        counter.__exit__(None, None, None)
        return float(counter.get_total_flops())

    def _figures(self, total: Step) -> dict[str, float]:
        """Shares and rates of steps summed over all processes, whose seconds go by at the same time."""
        if not total.whole:
            return {}
        figures = {"data_wait": total.waited / total.whole, "data_made": total.made / total.whole}
        rates = {"images_per_second": total.images, "tokens_per_second": total.tokens}
        figures |= {name: done * self._world / total.whole for name, done in rates.items() if done}
        if self._peak and total.flops:
            figures["mfu"] = total.flops / total.whole / self._peak
        return {f"train/{name}": value for name, value in figures.items()}


def _sum(steps: Iterable[Step]) -> Step:
    return Step(*(sum(each) for each in zip(*map(astuple, steps), strict=True)))


def _sum_of_all(trainer: Trainer, step: Step) -> Step:
    """The sum over all processes."""
    if trainer.world_size == 1:
        return step
    mine = torch.tensor(astuple(step), device=trainer.strategy.root_device)
    reduced = trainer.strategy.reduce(mine, reduce_op="sum")
    assert isinstance(reduced, torch.Tensor)
    return Step(*reduced.tolist())


def _is_logged(trainer: Trainer, module: LightningModule) -> bool:
    """Whether Lightning writes what is logged in this batch: it counts the batches that ended in an optimizer step.

    The same on all processes: a wish to stop, with which Lightning would log once more, may be that of a single one.
    """
    loop, every = trainer.fit_loop, int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
    if every < 1 or (module.automatic_optimization and loop._should_accumulate()):
        return False
    return bool((loop.epoch_loop._batches_that_stepped + 1) % every == 0)
