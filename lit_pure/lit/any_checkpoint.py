"""Lets Lightning's own strategies read a checkpoint of a run, which is a folder, as well as Lightning's files.

Knows how a folder becomes what Lightning keeps in a file. How it is read is `distributed/loading.py`'s. Knows nothing
of our strategies, which read folders without this.
"""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer

from lit_pure.lit.distributed.loading import restore


class AnyCheckpoint(TorchCheckpointIO):
    """Lightning's files, and our folders."""

    def __init__(self, module: LightningModule) -> None:
        self.module = module

    def load_checkpoint(self, path: Any, *given: Any, **named: Any) -> dict[str, Any]:
        """Read a file or a folder. Raises ValueError where a folder is no complete checkpoint of the module."""
        if not Path(path).is_dir():
            return super().load_checkpoint(path, *given, **named)
        fits = self.module.trainer.state.fn == TrainerFn.FITTING
        optimizers = _new_optimizers(self.module) if fits else []
        training = restore(Path(path), self.module, optimizers, [], self.module.strict_loading, None)
        states = [optimizer.state_dict() for optimizer in optimizers]
        return training | {"state_dict": self.module.state_dict(), "optimizer_states": states}


def read_file(path: Path) -> dict[str, Any]:
    """A checkpoint that Lightning wrote to a file: tensors, numbers and words. Raises ValueError where it is none."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise any error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} cannot be read as a checkpoint of Lightning ({reason}); name another one") from error
    if not isinstance(found, dict) or "state_dict" not in found:
        raise ValueError(f"{path} is no checkpoint of Lightning: it has no state_dict; name another one")
    return found


def _new_optimizers(module: LightningModule) -> list[Optimizer]:
    """Optimizers like those that the Trainer will make, in their order; the Trainer's get their state."""
    made: Any = module.configure_optimizers()
    entries = made[0] if isinstance(made, tuple) and isinstance(made[0], list) else made
    entries = entries if isinstance(entries, list | tuple) else [entries]
    return [entry["optimizer"] if isinstance(entry, dict) else entry for entry in entries]
