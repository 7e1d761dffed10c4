"""An experiment in Lightning's own Trainer, as somebody uses it who knows Lightning: fit, resume, load, predict."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from lit_pure import build
from lit_pure.config.compose import ConfigError
from lit_pure.lit.callbacks.ema import EMA
from lit_pure.lit.dem import DemModule
from lit_pure.lit.pure import ARModule
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.tokenizer import TokenizerModule
from lit_pure.runs.folder import MissingRun

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def trainer(folder: Path, **settings: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "logger": False}
    return Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **{**quiet, **settings})


def same(one: RunModule, other: RunModule) -> bool:
    first, second = one.state_dict(), other.state_dict()
    equal = (torch.equal(item.nan_to_num(-7), second[name].nan_to_num(-7)) for name, item in first.items())
    return first.keys() == second.keys() and all(equal)  # the thresholds of an estimator are NaN before the end


def test_a_resumed_training_is_the_uninterrupted_one(house: Path, tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=3, save_top_k=-1)
    averaging = EMA(0.9)
    module, data = build("demo")
    trainer(tmp_path, max_steps=6, val_check_interval=3, callbacks=[saving, averaging]).fit(module, data)
    again, other = build("demo")
    averaged = EMA(0.9)
    # The optimizer has its moments, the schedule its step, and the stream of samples its position.
    trainer(tmp_path, max_steps=6, callbacks=[averaged]).fit(again, other, ckpt_path=tmp_path / "step=3.ckpt")
    assert same(module, again) and other.state_dict() == data.state_dict()
    assert not same(module, build("demo")[0])
    for name, item in averaging.shards().items():
        assert torch.equal(averaged.shards()[name], item), "averages are in the file, too"


@pytest.mark.parametrize(
    ("name", "kind"), [("demo", ARModule), ("tokenizer/nano", TokenizerModule), ("dem/nano", DemModule)]
)
def test_a_file_alone_gives_the_module(house: Path, tmp_path: Path, name: str, kind: type[RunModule]) -> None:
    module, data = build(name, ["trainer.max_steps=77"])
    fitting = trainer(tmp_path, max_steps=1)
    fitting.fit(module, data)
    fitting.save_checkpoint(tmp_path / "a.ckpt")
    loaded = kind.load_from_checkpoint(tmp_path / "a.ckpt")
    assert type(loaded) is kind and same(loaded, module) and loaded.config == module.config
    assert loaded.config.trainer.max_steps == 77 and loaded.hparams == module.hparams


def test_a_trainer_may_count_epochs(house: Path, tmp_path: Path) -> None:
    module, data = build("demo", ["data.train.crops=1", "data.batch_size=4"])  # of six photographs
    seen: list[tuple[int, int]] = []
    step = module.training_step

    def noted(batch: Any, batch_idx: int) -> torch.Tensor:
        seen.extend(zip(batch["epoch"].tolist(), batch["index"].tolist(), strict=True))
        return step(batch, batch_idx)

    module.training_step = noted  # type: ignore[method-assign]
    fitting = trainer(tmp_path, max_epochs=2)
    fitting.fit(module, data)
    assert fitting.global_step == 4 and module.planned_steps == 4
    assert sorted(seen) == [(epoch, index) for epoch in range(2) for index in range(6)]


def test_the_schedule_spans_the_steps_of_the_trainer(house: Path, tmp_path: Path) -> None:
    module, data = build("demo", ["trainer.max_steps=1000", "optim.warmup=0"])
    assert module.planned_steps == 1000
    fitting = trainer(tmp_path, max_steps=4)
    fitting.fit(module, data)
    assert module.planned_steps == 4
    assert fitting.optimizers[0].param_groups[0]["lr"] == pytest.approx(module.config.optim.min_lr)


def test_predicting_restores(house: Path, tmp_path: Path) -> None:
    module, data = build("demo")
    assert isinstance(module, ARModule)
    small = trainer(tmp_path)
    lq_B3hw = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    batches = small.predict(module, DataLoader(lq_B3hw, batch_size=2))  # type: ignore[arg-type]
    assert batches and [tuple(batch.shape) for batch in batches] == [(2, 3, 96, 96), (1, 3, 96, 96)]
    alone = module.restorer.restore(lq_B3hw[2:], ["0/1/0"])[0].image_3HW
    assert torch.equal(batches[1][0], alone), "a picture without a name is named by its place"
    pairs = small.predict(module, DataLoader(TensorDataset(lq_B3hw[:1, :, :20, :10])))
    assert pairs and tuple(pairs[0].shape) == (1, 3, 80, 40), "any size"
    sets = small.predict(module, data)
    assert sets and len(torch.cat(sets)) == len(data.test["demo"])
    with pytest.raises(ValueError, match=r"LQ pictures: expected a batch \(B, 3, H, W\)"):
        small.predict(module, DataLoader([{"hq": torch.rand(3, 8, 8)}]))  # type: ignore[arg-type]


def test_what_cannot_be_built_says_why(house: Path) -> None:
    with pytest.raises(MissingRun, match=r"pure/official has the published weights"):
        build("pure/official")
    with pytest.raises(MissingRun, match="no finished run of nsarm/nano/tokenizer; make exp NAME=nsarm/nano/tokenizer"):
        build("nsarm/nano/stage1")
    with pytest.raises(ConfigError, match="optim.lrr"):
        build("demo", ["optim.lrr=1"])
