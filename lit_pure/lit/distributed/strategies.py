"""Lightning's strategies with one checkpoint format: a folder that any number of processes, sharing in any way, reads.

Knows where a training runs (`strategy_of`) and when its checkpoints are written and read by Lightning. Knows nothing of
files (`saving.py`), nor of how a model is cut into pieces (`sharding.py`).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import Accelerator, CPUAccelerator, CUDAAccelerator, MPSAccelerator
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy, Strategy
from torch import distributed
from torch.optim import Optimizer

from lit_pure.config.training import TrainerConfig
from lit_pure.lit.distributed import saving
from lit_pure.lit.distributed.loading import restore
from lit_pure.lit.distributed.processes import started_together
from lit_pure.lit.distributed.saving import Contents, Group, Shards, Wish
from lit_pure.runs import checkpoints

log = logging.getLogger(__name__)

GRACE = 60.0
"""How long the end of a process waits for a checkpoint that is being written [s]."""
HOW = {"max": distributed.ReduceOp.MAX, "min": distributed.ReduceOp.MIN, "sum": distributed.ReduceOp.SUM}


class Folders(Strategy):
    """Saves to folders, and loads from them, in a way that does not depend on the strategy.

    A save copies at once and writes in a thread, one at a time. It fails or succeeds on all processes together.
    """

    patience = timedelta(minutes=30)
    """How long processes wait for each other."""
    _groups: tuple[Group, Group] | None = None
    """Of the processes, on the CPU: for the main thread, and for the one that writes."""
    _saving: "Saving | None" = None

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Tensors are read into those of a model that is set up."""
        return True

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Loading a checkpoint includes the optimizers."""
        return False

    def setup_environment(self) -> None:
        """Bring the processes together."""
        super().setup_environment()
        if self._groups is None and distributed.is_initialized() and distributed.get_world_size() > 1:
            first, second = (distributed.new_group(backend="gloo", timeout=self.patience) for _ in range(2))
            self._groups = first, second

    def agree(self, value: float, how: Literal["max", "min", "sum"]) -> float:
        """The largest, the smallest or the sum of a number of all processes, on each; never waits for a GPU."""
        if self._groups is None:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(told, HOW[how], group=self._groups[0])
        return float(told)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The module's own tensors, pieces where it is cut."""
        assert self.lightning_module is not None
        return dict(saving.model_state(self.lightning_module))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Its tensors by name of parameter, pieces where these are cut, and its settings."""
        assert self.lightning_module is not None
        tensors = saving.optimizer_state(optimizer, self.lightning_module)
        return {"tensors": tensors, "settings": saving.optimizer_settings(optimizer)}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Copy what Lightning gathered and write it to a folder, in a thread.

        Args:
            checkpoint: as Lightning's Trainer gathers it.
            filepath: the folder.
            storage_options: a `Wish`, or None.
        """
        self.settle_saving()
        wish = storage_options if isinstance(storage_options, Wish) else Wish()
        optimizers = checkpoint.pop("optimizer_states", [])
        state = saving.part(saving.MODEL, checkpoint.pop("state_dict"))
        for number, each in enumerate(optimizers):
            state |= saving.part(f"{saving.OPTIMIZER}.{number}", each["tensors"])
        for shards in self._shards():
            state |= saving.part(shards.shards_name, shards.shards())
        training = saving.plain(checkpoint | {"optimizers": [each["settings"] for each in optimizers]}, "")
        mark = {
            "step": checkpoint["global_step"],
            "epoch": checkpoint["epoch"],
            checkpoints.SCORE: wish.score,
            "processes": distributed.get_world_size() if distributed.is_initialized() else 1,
        }
        contents = Contents({name: saving.copied(tensor) for name, tensor in state.items()}, training, mark)
        group = self._groups[1] if self._groups else None
        self._saving = Saving(Path(filepath), lambda: saving.write(Path(filepath), contents, wish.then, group))

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read tensors into those of module, optimizers and callbacks; returns the rest.

        Raises ValueError where the folder is no complete checkpoint, or one of another model.
        """
        module = self.lightning_module
        assert module is not None
        shards = self._shards() if self.optimizers else []
        group = self._groups[0] if self._groups else None
        return restore(Path(checkpoint_path), module, self.optimizers, shards, module.strict_loading, group)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Done by `load_checkpoint`."""

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Done by `load_checkpoint`."""

    def poll_saving(self) -> None:
        """Tell in a line where a save has failed; never waits."""
        if self._saving is not None and self._saving.done:
            self.settle_saving()

    def finish_saving(self) -> None:
        """Wait for the save that is under way. Raises ValueError where it fails."""
        if problem := self._wait(None):
            raise ValueError(problem)

    def teardown(self) -> None:
        """Give a save that is under way a while."""
        self.settle_saving(GRACE)
        super().teardown()

    def settle_saving(self, seconds: float | None = None) -> None:
        """Wait for the save that is under way, and tell in a line where it fails."""
        problem = self._wait(seconds)
        if problem and self.is_global_zero:
            log.warning("%s", problem)

    def _wait(self, seconds: float | None) -> str:
        saving_, self._saving = self._saving, None
        return saving_.problem(seconds) if saving_ is not None else ""

    def _shards(self) -> list[Shards]:
        """Callbacks that have tensors of their own."""
        assert self.lightning_module is not None
        callbacks: list[Any] = self.lightning_module.trainer.callbacks  # type: ignore[attr-defined]
        return [callback for callback in callbacks if isinstance(callback, Shards)]


class OneDevice(Folders, SingleDeviceStrategy):
    """One process, one device."""


class Replicated(Folders, DDPStrategy):
    """A copy of the model in each process."""


class Sharded(Folders, ModelParallelStrategy):
    """A piece of the model in each process; `configure_model` cuts it along `device_mesh["data_parallel"]`."""


class Saving:
    """A checkpoint that is being written by a thread of its own."""

    def __init__(self, folder: Path, write: Callable[[], str]) -> None:
        self.folder = folder
        self._outcome = "the process that wrote it did not finish"
        self._thread = threading.Thread(target=self._run, args=(write,), daemon=True, name=f"saving {folder.name}")
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it is written, or has failed."""
        return not self._thread.is_alive()

    def problem(self, seconds: float | None) -> str:
        """Wait; what went wrong and what stands, in a line, or ""."""
        self._thread.join(seconds)
        if not self._outcome:
            return ""
        stands = checkpoints.newest(self.folder.parent)
        left = f"{stands.folder.name} stands" if stands else "there is none before it"
        return f"{self.folder} could not be written ({self._outcome}); {left}; make room, or look at the disk"

    def _run(self, write: Callable[[], str]) -> None:
        try:
            self._outcome = write()
        except Exception as error:
            self._outcome = saving.reason(error)


def strategy_of(config: TrainerConfig) -> Folders:
    """The strategy for Lightning's Trainer, which takes accelerator, devices and number of machines besides.

    Raises ValueError where the accelerator is not there, or has not these devices.
    """
    accelerator = _accelerator(config.accelerator)
    try:
        wanted = accelerator.auto_device_count() if config.devices == "auto" else config.devices
        devices = accelerator.get_parallel_devices(accelerator.parse_devices(wanted))
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise ValueError(f"trainer.devices = {config.devices}: {saving.reason(error)}") from error
    world, timeout = len(devices) * config.num_nodes, timedelta(seconds=config.timeout)
    strategy: Folders
    if config.strategy == "fsdp":
        strategy = Sharded(data_parallel_size=world, tensor_parallel_size=1, timeout=timeout)
    elif config.strategy == "auto" and max(world, started_together()) == 1:
        strategy = OneDevice(devices[0])
    else:
        strategy = Replicated(timeout=timeout)
    strategy.patience = timeout
    return strategy


def _accelerator(name: str) -> type[Accelerator]:
    """The class of an accelerator; `auto` and `gpu` take what is there."""
    known: dict[str, type[Accelerator]] = {"mps": MPSAccelerator, "cuda": CUDAAccelerator, "cpu": CPUAccelerator}
    allowed = {"auto": ["mps", "cuda", "cpu"], "gpu": ["mps", "cuda"]}.get(name, [name])
    there = [kind for kind, accelerator in known.items() if accelerator.is_available()]
    found = next((kind for kind in allowed if kind in there), None)
    if found is None:
        raise ValueError(f"trainer.accelerator = {name} is not there; take one of auto, {', '.join(there)}")
    return known[found]
