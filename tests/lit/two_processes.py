"""A test by Lightning's Trainer of a module that scores, on one process or two: `python two_processes.py FOLDER COUNT`.

FOLDER/hq holds photographs, FOLDER/lq pictures without HQ. Each process writes FOLDER/COUNT_RANK.json, the first
FOLDER/COUNT.csv.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from lit_pure.config.data import DataConfig, PhotosConfig
from lit_pure.images.geometry import resize
from lit_pure.lit import scores
from lit_pure.lit.data import Batch, Identity, PhotoDataModule
from lit_pure.metrics.rows import write_rows


class Means:
    """In the place of FID's network, whose weights are not at hand: means over a 2 x 2 grid, 12 features."""

    def __init__(self, key: str) -> None:
        assert key == "fid"

    def features(self, images_B3HW: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images_B3HW, 2).flatten(1).double()


class Blurs(LightningModule):
    """Its pictures are the true ones, or the LQ ones, through a small grid."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = scores.Scores(["given", "photos"], ["psnr", "niqe", "fid"], ["restored", "bicubic"])
        self.alone = scores.Scores(["all"], ["psnr", "niqe", "fid"], ["restored"])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:
        seen = batch["hq_B3HW"] if "hq_B3HW" in batch else batch["lq_B3hw"]
        for method, side in (("restored", 48), ("bicubic", 24)):
            pred_B3HW = resize(resize(seen, side, side), 96, 96)
            self.scores.update(dataloader_idx, method, pred_B3HW, batch)
        if dataloader_idx == 1 and 5 in batch["index"]:  # the second of two processes alone sees sample 5
            here = slice(place := batch["index"].tolist().index(5), place + 1)
            one: Any = {"name": batch["name"][here], "index": batch["index"][here], "hq_B3HW": batch["hq_B3HW"][here]}
            self.alone.update(0, "restored", pred_B3HW[here], one)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.scores.compute(), sync_dist=True)
        self.alone.compute()


def run(folder: Path, count: int) -> None:
    """Test on `count` processes."""
    sets = {"photos": PhotosConfig(source=str(folder / "hq")), "given": PhotosConfig(source="", lq=str(folder / "lq"))}
    data = PhotoDataModule(DataConfig(size=96, test=sets, eval_batch_size=2), 0, Identity(), trains=False)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    strategy = "ddp" if count > 1 else "auto"
    trainer = Trainer(accelerator="cpu", devices=count, strategy=strategy, use_distributed_sampler=False, **quiet)
    module = Blurs()
    trainer.test(module, data, verbose=False)
    found = {
        "logged": {key: float(value) for key, value in trainer.callback_metrics.items()},
        "means": module.scores.means,
        "rows": [(row.test_set, row.method, row.image, dict(row.scores)) for row in module.scores.rows],
        "alone": [module.alone.means, len(module.alone.rows)],
    }
    (folder / f"{count}_{trainer.global_rank}.json").write_text(json.dumps(found))
    if trainer.is_global_zero:
        write_rows(folder / f"{count}.csv", module.scores.rows, ["psnr", "niqe"])


if __name__ == "__main__":
    scores.Frechet = Means  # type: ignore[assignment, attr-defined]
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]))
