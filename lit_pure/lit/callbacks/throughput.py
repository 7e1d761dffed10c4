"""How fast a training is, and how much of a step its data take.

Knows the hooks between which a step waits for its batch, prepares it on the device and trains on it, and what modules
report of a step (`protocols.py`). Knows nothing of what a batch is. Times are those of the host, which waits for the
device only where something is logged. On a GPU some of the waiting is hidden behind the step before, so shares of a
step are upper bounds.
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
from lit_pure.lit.callbacks.protocols import MarksHandover, ReportsWork, Work

WINDOW = 50
"""Number of steps in a logged figure."""


@dataclass(frozen=True)
class StepCost:
    """The time of one step [s], and its work; also the sum over several steps."""

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

    - `data_wait`, `data_made`: the shares of a step for waiting for the loader, and for preparing the batch in a data
      module that notes when it got the batch (`MarksHandover`).
    - `images_per_second`: from the module (`ReportsWork`), else from the length of the batch's first tensor.
    - `tokens_per_second`: from the module, else left out.
    - `mfu`: model FLOP/s as a share of the devices' peak. FLOP are from the module, else counted by torch in the first
      step (without operations that torch has no formula for, such as attention on a CPU). Left out if the peak is
      unknown.

    Steps after a validation or a checkpoint are left out, and so is the first one.
    """

    def __init__(self, peak_flops: float = 0.0) -> None:
        """`peak_flops`: of one device [FLOP/s]; 0 takes Lightning's figure."""
        self.peak_flops = peak_flops
        self.steps = 0
        """Number of counted steps."""
        self._peak = 0.0
        self._counter: FlopCounterMode | None = None
        self._flops_per_image = 0.0
        self._whole = self._all = StepCost()
        self._window: deque[StepCost] = deque(maxlen=WINDOW)
        self._batches, self._world = 0, 1
        self._end: float | None = None
        self._handed_over = self._began = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is counted yet; a checkpoint is loaded after this."""
        self._whole = self._all = StepCost()
        self.steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training starts or resumes."""
        self._peak, self._world = self.peak_flops or peak_of(trainer), trainer.world_size
        self._window.clear()
        self._batches = 0
        self._end, self._flops_per_image = None, 0.0

    @property
    def state_key(self) -> str:
        """Two with different peaks can be used together."""
        return self._generate_state_key(peak_flops=self.peak_flops)

    def state_dict(self) -> dict[str, Any]:
        """For a resumed training: what was counted so far, on the first process."""
        return {"steps": self.steps, "all": list(astuple(self._all))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting."""
        self.steps, self._all = int(state_dict["steps"]), StepCost(*state_dict["all"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch is ready."""
        data = getattr(trainer, "datamodule", None)
        self._began = time.perf_counter()
        self._handed_over = data.handed_over if isinstance(data, MarksHandover) else self._began
        if not self._batches and self._peak and not isinstance(pl_module, ReportsWork):
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
            step = StepCost(waited, made, now - self._end, work.images, work.tokens, work.flops)
            self.steps += 1
            self._all = _sum([self._all, step])
            self._window.append(step)
        # All processes come here together: they count the same steps.
        if logs and self._window:
            for name, value in self._figures(_sum_over_processes(trainer, _sum(self._window))).items():
                pl_module.log(name, value)
        self._end = time.perf_counter() if logs else now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation does not count as waiting."""
        self._end = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Nor does saving."""
        self._end = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sum over all processes."""
        self._whole = _sum_over_processes(trainer, self._all)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop counting."""
        self._stop_counter()

    def row(self) -> dict[str, float]:
        """The same figures for the whole training; empty without one."""
        return {name: float(f"{value:.4g}") for name, value in self._figures(self._whole).items()}

    def _work(self, module: LightningModule, batch: Any) -> Work:
        """The work of the step."""
        if isinstance(module, ReportsWork):
            return module.work
        images = first_length(batch)
        if flops := self._stop_counter():
            self._flops_per_image = flops / max(images, 1)
        return Work(images=images, flops=self._flops_per_image * max(images, 1))

    def _stop_counter(self) -> float:
        """FLOP since the counter started; 0 without a counter."""
        if self._counter is None:
            return 0.0
        counter, self._counter = self._counter, None
        counter.__exit__(None, None, None)
        return float(counter.get_total_flops())

    def _figures(self, total: StepCost) -> dict[str, float]:
        """Shares and rates of steps that are summed over all processes, which run at the same time."""
        if not total.whole:
            return {}
        figures = {"data_wait": total.waited / total.whole, "data_made": total.made / total.whole}
        rates = {"images_per_second": total.images, "tokens_per_second": total.tokens}
        figures |= {name: done * self._world / total.whole for name, done in rates.items() if done}
        if self._peak and total.flops:
            figures["mfu"] = total.flops / total.whole / self._peak
        return {f"train/{name}": value for name, value in figures.items()}


def _sum(steps: Iterable[StepCost]) -> StepCost:
    return StepCost(*(sum(each) for each in zip(*map(astuple, steps), strict=True)))


def _sum_over_processes(trainer: Trainer, step: StepCost) -> StepCost:
    """The sum over all processes."""
    if trainer.world_size == 1:
        return step
    mine = torch.tensor(astuple(step), device=trainer.strategy.root_device)
    reduced = trainer.strategy.reduce(mine, reduce_op="sum")
    assert isinstance(reduced, torch.Tensor)
    return StepCost(*reduced.tolist())


def _is_logged(trainer: Trainer, module: LightningModule) -> bool:
    """Whether Lightning writes what this batch logs: it counts the batches that ended an optimizer step.

    The same on all processes. Lightning also logs when it is asked to stop, but that may concern a single process.
    """
    loop, every = trainer.fit_loop, int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
    if every < 1 or (module.automatic_optimization and loop._should_accumulate()):
        return False
    return bool((loop.epoch_loop._batches_that_stepped + 1) % every == 0)
