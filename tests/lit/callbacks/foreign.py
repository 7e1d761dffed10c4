"""A Lightning project of somebody else: own data, own modules, nothing of our configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

SHIFT = 10 / 255
"""What `Brightener` adds to a picture that is grey from 0.2 to 0.5."""


class Photos(Dataset[dict[str, Any]]):
    """Grey pictures of 32 px and their halves, each of another brightness."""

    def __init__(self, count: int = 7) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        high = torch.full((3, 32, 32), 51 / 255) + torch.arange(32) / 255 * (1 + index % 2)
        return {"index": index, "name": f"photo{index}", "low": high[:, ::2, ::2], "high": high}


def loader(count: int = 7, batch_size: int = 2) -> DataLoader[Any]:
    return DataLoader(Photos(count), batch_size=batch_size)


class Brightener(LightningModule):
    """Doubles the size and adds `SHIFT`, times the number of the picture plus one; keeps all that callbacks look at."""

    def __init__(self, only_first: bool = False, truth: bool = True) -> None:
        super().__init__()
        self.layer, self.only_first, self.truth = nn.Conv2d(3, 3, 1), only_first, truth
        self.shown: dict[str, Tensor] = {}
        self.entropy_Bhw = torch.empty(0)
        self.answers: list[dict[str, str | None]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return self.layer(batch["low"]).square().mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        if not self.only_first or batch_idx == 0:
            self._look(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._look(batch)

    def _look(self, batch: dict[str, Any]) -> None:
        index_B = batch["index"][:, None, None, None]
        restored_B3HW = batch["high"] + SHIFT * (index_B + 1)
        self.shown = {"LQ": interpolate(batch["low"], (32, 32), mode="nearest"), "restored": restored_B3HW}
        if self.truth:
            self.shown["ground truth"] = batch["high"]
        self.entropy_Bhw = batch["low"][:, 0, ::4, ::4] * 8
        self.answers = [{"image": name, "answer": f"I see | {name}", "blur": None} for name in batch["name"]]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Plain(LightningModule):
    """A regression, which keeps nothing for anybody."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 16)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0]).square().mean()

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def plain_loader() -> DataLoader[Any]:
    return DataLoader(torch.utils.data.TensorDataset(torch.ones(12, 8)), batch_size=4)


def loggers(folder: Path) -> list[Logger]:
    board = TensorBoardLogger(folder, name="run")
    return [board, CSVLogger(folder, name="run", version=board.version)]


def trainer(folder: Path, callbacks: list[Callback], **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 1,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "logger": loggers(folder),
        "accelerator": "cpu",
        "devices": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
    }
    return Trainer(callbacks=callbacks, **{**settings, **changes})


def events(folder: Path) -> EventAccumulator:
    """All that TensorBoard was told of the only run below a folder."""
    (run,) = {path.parent for path in folder.rglob("events*")}
    return EventAccumulator(str(run), size_guidance={"images": 0, "tensors": 0, "scalars": 0}).Reload()
