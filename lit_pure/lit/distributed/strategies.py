"""Lightning's strategies with one checkpoint format: a folder that any number of processes reads, sharded or not.

Knows where a training runs (`strategy_of`), and when Lightning writes and reads its checkpoints. Knows nothing of files
(`saving.py`), or of how a model is sharded (`sharding.py`).
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
from lit_pure.lit.distributed.meeting import AGAIN, PATIENT, meet
from lit_pure.lit.distributed.processes import count_launched
from lit_pure.lit.distributed.saving import Contents, Group, SaveOptions, Shards
from lit_pure.runs import checkpoints

log = logging.getLogger(__name__)

GRACE = 60.0
"""How long the end of a process waits for an unfinished checkpoint [s]."""
REDUCTIONS = {"max": distributed.ReduceOp.MAX, "min": distributed.ReduceOp.MIN, "sum": distributed.ReduceOp.SUM}


class FolderCheckpoints(Strategy):
    """Saves checkpoints to folders and loads them, with any strategy.

    A save first copies, then writes in a thread; one save runs at a time. It fails or succeeds on all processes
    together.
    """

    patience = timedelta(minutes=30)
    """How long processes wait for each other."""
    _groups: tuple[Group, Group] | None = None
    """Process groups on the CPU: for the main thread, and for the thread that writes."""
    _saving: "BackgroundSave | None" = None

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Tensors are read into those of a model after its setup."""
        return True

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Loading a checkpoint includes the optimizers."""
        return False

    def setup_environment(self) -> None:
        """Connect the processes."""
        met = self._meet()
        super().setup_environment()
        del met
        if self._groups is None and distributed.is_initialized() and distributed.get_world_size() > 1:
            first, second = (distributed.new_group(backend="gloo", timeout=self.patience) for _ in range(2))
            self._groups = first, second

    def _meet(self) -> object:
        """Wait for the others, unless they are connected already; Lightning would wait without a word.

        Returns what must be kept until they are connected.
        """
        if not isinstance(self, Replicated | Sharded) or distributed.is_initialized():
            return None
        self.set_world_ranks()
        environment = self.cluster_environment
        assert environment is not None
        # Those that Lightning has started just now take as long as this one did.
        patient = AGAIN if getattr(self.launcher, "procs", []) else PATIENT
        return meet(environment, self.patience.total_seconds(), patient)

    def agree(self, value: float, how: Literal["max", "min", "sum"]) -> float:
        """The maximum, minimum or sum of a number over all processes; never waits for a GPU."""
        if self._groups is None:
            return value
        reduced = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(reduced, REDUCTIONS[how], group=self._groups[0])
        return float(reduced)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The module's tensors, not copied and perhaps sharded."""
        assert self.lightning_module is not None
        return dict(saving.model_state(self.lightning_module))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimizer's tensors by parameter name, perhaps sharded, and its settings."""
        assert self.lightning_module is not None
        tensors = saving.optimizer_state(optimizer, self.lightning_module)
        return {"tensors": tensors, "settings": saving.optimizer_settings(optimizer)}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Copy Lightning's checkpoint and write it to a folder, in a thread.

        Args:
            checkpoint: from Lightning's Trainer.
            filepath: the folder.
            storage_options: `SaveOptions`, or None.
        """
        self.settle_saving()
        options = storage_options if isinstance(storage_options, SaveOptions) else SaveOptions()
        optimizers = checkpoint.pop("optimizer_states", [])
        state = saving.part(saving.MODEL, checkpoint.pop("state_dict"))
        for number, each in enumerate(optimizers):
            state |= saving.part(f"{saving.OPTIMIZER}.{number}", each["tensors"])
        for shards in self._shards():
            state |= saving.part(shards.shards_name, shards.shards())
        training = saving.copy_plain(checkpoint | {"optimizers": [each["settings"] for each in optimizers]}, "")
        mark = {
            "step": checkpoint["global_step"],
            "epoch": checkpoint["epoch"],
            checkpoints.SCORE: options.score,
            "processes": distributed.get_world_size() if distributed.is_initialized() else 1,
        }
        contents = Contents({name: saving.copy_to_cpu(tensor) for name, tensor in state.items()}, training, mark)
        group = self._groups[1] if self._groups else None
        folder = Path(filepath)
        self._saving = BackgroundSave(folder, lambda: saving.write(folder, contents, options.then, group))

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read tensors into those of module, optimizers and callbacks; returns the rest.

        Raises ValueError if the folder is not a complete checkpoint, or one of another model.
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
        """Log a line if a save has failed; never waits."""
        if self._saving is not None and self._saving.done:
            self.settle_saving()

    def finish_saving(self) -> None:
        """Wait for the running save. Raises ValueError if it fails."""
        if problem := self._wait(None):
            raise ValueError(problem)

    def teardown(self) -> None:
        """Give a running save some time."""
        self.settle_saving(GRACE)
        super().teardown()

    def settle_saving(self, seconds: float | None = None) -> None:
        """Wait for the running save; log a line if it fails."""
        problem = self._wait(seconds)
        if problem and self.is_global_zero:
            log.warning("%s", problem)

    def _wait(self, seconds: float | None) -> str:
        saving_, self._saving = self._saving, None
        return saving_.problem(seconds) if saving_ is not None else ""

    def _shards(self) -> list[Shards]:
        """Callbacks with their own tensors."""
        assert self.lightning_module is not None
        callbacks: list[Any] = self.lightning_module.trainer.callbacks  # type: ignore[attr-defined]
        return [callback for callback in callbacks if isinstance(callback, Shards)]


class OneDevice(FolderCheckpoints, SingleDeviceStrategy):
    """One process, one device."""


class Replicated(FolderCheckpoints, DDPStrategy):
    """A copy of the model in each process."""


class Sharded(FolderCheckpoints, ModelParallelStrategy):
    """A shard of the model in each process; `configure_model` shards it along `device_mesh["data_parallel"]`."""


class BackgroundSave:
    """Writes a checkpoint in its own thread."""

    def __init__(self, folder: Path, write: Callable[[], str]) -> None:
        self.folder = folder
        self._outcome = "the thread that wrote it did not finish"
        self._thread = threading.Thread(target=self._run, args=(write,), daemon=True, name=f"saving {folder.name}")
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it is complete, or has failed."""
        return not self._thread.is_alive()

    def problem(self, seconds: float | None) -> str:
        """Wait; returns the problem and the last good checkpoint in a line, or ""."""
        self._thread.join(seconds)
        if not self._outcome:
            return ""
        newest = checkpoints.newest(self.folder.parent)
        kept = f"{newest.folder.name} is kept" if newest else "there is none before it"
        return f"{self.folder} could not be written ({self._outcome}); {kept}; make room, or check the disk"

    def _run(self, write: Callable[[], str]) -> None:
        try:
            self._outcome = write()
        except Exception as error:
            self._outcome = saving.reason(error)


def strategy_of(config: TrainerConfig) -> FolderCheckpoints:
    """The strategy for Lightning's Trainer, which also takes accelerator, devices and number of machines.

    Raises ValueError if this machine lacks the accelerator, or the devices.
    """
    accelerator = _accelerator(config.accelerator)
    try:
        wanted = accelerator.auto_device_count() if config.devices == "auto" else config.devices
        devices = accelerator.get_parallel_devices(accelerator.parse_devices(wanted))
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise ValueError(f"trainer.devices = {config.devices}: {saving.reason(error)}") from error
    world, timeout = len(devices) * config.num_nodes, timedelta(seconds=config.timeout)
    strategy: FolderCheckpoints
    if config.strategy == "fsdp":
        strategy = Sharded(data_parallel_size=world, tensor_parallel_size=1, timeout=timeout)
    elif config.strategy == "auto" and max(world, count_launched()) == 1:
        strategy = OneDevice(devices[0])
    else:
        strategy = Replicated(timeout=timeout)
    strategy.patience = timeout
    return strategy


def _accelerator(name: str) -> type[Accelerator]:
    """The class of an accelerator; `auto` and `gpu` take an available one."""
    known: dict[str, type[Accelerator]] = {"mps": MPSAccelerator, "cuda": CUDAAccelerator, "cpu": CPUAccelerator}
    allowed = {"auto": ["mps", "cuda", "cpu"], "gpu": ["mps", "cuda"]}.get(name, [name])
    available = [kind for kind, accelerator in known.items() if accelerator.is_available()]
    found = next((kind for kind in allowed if kind in available), None)
    if found is None:
        raise ValueError(f"trainer.accelerator = {name} is not available; take one of auto, {', '.join(available)}")
    return known[found]
