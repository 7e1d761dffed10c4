"""Each flag of the Trainer that an experiment sets, by what it does to a training of one matrix."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lit_pure.config.compose import compose
from lit_pure.config.training import TrainerConfig
from lit_pure.datasets.order import InOrder, Key, Stream
from lit_pure.lit.callbacks.ending import Ending
from lit_pure.lit.flags import total_steps, trainer_arguments

pytestmark = pytest.mark.filterwarnings("ignore")


class Keys(Dataset[Tensor]):
    """A sample is its key (epoch, index), and two numbers that are always the same."""

    def __getitem__(self, key: Key) -> Tensor:
        return torch.tensor([*key, 1.0, 2.0])

    def __len__(self) -> int:
        return 12


class Matrix(LightningModule):
    """Keeps what it saw, by stage."""

    def __init__(self, harm: str = "") -> None:
        super().__init__()
        self.layer, self.norm, self.harm = nn.Linear(4, 2, bias=False), nn.BatchNorm1d(2).eval(), harm
        nn.init.ones_(self.layer.weight)
        self.seen: dict[str, list[Any]] = {"train": [], "val": [], "test": [], "predict": [], "order": []}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self._see("train", batch)
        loss = self.layer(batch).sum()
        if self.harm == "nan":
            loss = loss + (loss - loss.detach() - 1).sqrt()
        if self.harm == "put":
            torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self._see("val", batch)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self._see("test", batch)

    def predict_step(self, batch: Tensor, batch_idx: int) -> None:
        self._see("predict", batch)

    def _see(self, stage: str, batch: Tensor) -> None:
        self.seen[stage].append(batch[:, :2].tolist())
        self.seen["order"].append(stage)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.layer.parameters(), lr=1.0)


def loaders() -> tuple[DataLoader[Tensor], DataLoader[Tensor]]:
    """Training without an end, and six batches in order."""
    return DataLoader(Keys(), 2, sampler=Stream(12, 0)), DataLoader(Keys(), 2, sampler=InOrder(12))


def make(folder: Path, **knobs: Any) -> Trainer:
    settings = {"accelerator": "cpu", "devices": "1", "max_steps": 8, "val_every": 4, "gradient_clip": 0.0}
    config = TrainerConfig(**{**settings, "enable_progress_bar": False, **knobs})  # type: ignore[arg-type]
    quiet: dict[str, Any] = {"enable_checkpointing": False, "enable_model_summary": False, "logger": False}
    arguments = {**trainer_arguments(config, folder, clips=True), "use_distributed_sampler": False}
    return Trainer(**arguments, **quiet, callbacks=[Ending(config.max_time)])


def fit(folder: Path, module: Matrix | None = None, **knobs: Any) -> Matrix:
    module = module or Matrix()
    make(folder, **knobs).fit(module, *loaders())
    return module


@pytest.fixture(autouse=True)
def torch_as_before() -> Iterator[None]:
    """Some flags are torch's, for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.autograd.set_detect_anomaly(False)
    torch.backends.cudnn.benchmark = False
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def counts(module: Matrix) -> tuple[int, int]:
    return len(module.seen["train"]), len(module.seen["val"])


def test_without_flags_eight_steps_and_two_whole_validations(tmp_path: Path) -> None:
    module = fit(tmp_path)
    assert counts(module) == (8, 12)
    assert module.seen["train"][0] != module.seen["train"][6], "the second epoch has another order"


def test_fast_dev_run_takes_so_many_batches_of_everything(tmp_path: Path) -> None:
    module, trainer = Matrix(), make(tmp_path, fast_dev_run=2)
    train, rest = loaders()
    trainer.fit(module, train, rest)
    trainer.test(module, rest, verbose=False)
    assert counts(module) == (2, 2) and len(module.seen["test"]) == 2


def test_overfit_batches_are_the_same_again_and_again(tmp_path: Path) -> None:
    module = fit(tmp_path, overfit_batches=2)
    first = [batch.tolist() for batch, _ in zip((batch[:, :2] for batch in loaders()[0]), range(2), strict=False)]
    assert module.seen["train"] == first * 4 and len(module.seen["val"]) == 2 * 2


@pytest.mark.parametrize(("stage", "batches"), [("train", 3), ("val", 1), ("test", 1), ("predict", 1)])
def test_limits_of_each_stage(tmp_path: Path, stage: str, batches: int) -> None:
    module, trainer = Matrix(), make(tmp_path, **{f"limit_{stage}_batches": batches})
    train, rest = loaders()
    trainer.fit(module, train, rest)
    trainer.test(module, rest, verbose=False)
    trainer.predict(module, rest)
    seen = {name: len(module.seen[name]) for name in ("train", "val", "test", "predict")}
    whole = {"train": 8, "val": 12, "test": 6, "predict": 6}
    if stage == "train":
        assert seen == whole and module.seen["train"][:3] == module.seen["train"][3:6], "an epoch has three batches"
    else:
        assert seen == {**whole, stage: 2 * batches if stage == "val" else batches}


def test_no_batches_of_validation(tmp_path: Path) -> None:
    assert counts(fit(tmp_path, limit_val_batches=0)) == (8, 0)


@pytest.mark.parametrize(
    ("profiler", "pattern", "words"),
    [("simple", "fit-profile.txt", "run_training_batch"), ("advanced", "fit-profile.txt", "function calls")],
)
def test_a_profiler_writes_into_the_run_folder(tmp_path: Path, profiler: str, pattern: str, words: str) -> None:
    fit(tmp_path, profiler=profiler)
    (file,) = tmp_path.glob(pattern)
    assert words in file.read_text()


def test_the_profiler_of_torch_writes_operations(tmp_path: Path) -> None:
    fit(tmp_path, profiler="pytorch")
    traces = list(tmp_path.glob("fit-profile*.json"))
    assert any("aten::linear" in trace.read_text() for trace in traces)


def test_detect_anomaly_names_the_operation_of_a_nan(tmp_path: Path) -> None:
    module = fit(tmp_path, Matrix("nan"))
    assert module.layer.weight.isnan().any(), "else nothing is found below"
    with pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan"):
        fit(tmp_path, Matrix("nan"), detect_anomaly=True)


def test_deterministic_refuses_an_operation_without_fixed_bits(tmp_path: Path) -> None:
    fit(tmp_path, Matrix("put"))
    with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
        fit(tmp_path, Matrix("put"), deterministic=True)


@pytest.mark.parametrize("benchmark", [False, True])
def test_benchmark_is_that_of_cudnn(tmp_path: Path, benchmark: bool) -> None:
    fit(tmp_path, benchmark=benchmark)
    assert torch.backends.cudnn.benchmark is benchmark


def test_time_that_is_over_ends_the_training_but_not_before_min_steps(tmp_path: Path) -> None:
    assert counts(fit(tmp_path, max_time="00:00:00:00"))[0] == 0
    assert counts(fit(tmp_path, max_time="00:00:00:00", min_steps=3))[0] == 3
    assert counts(fit(tmp_path, max_time="00:01:00:00"))[0] == 8


def test_gradients_are_clipped_by_norm_or_by_value(tmp_path: Path) -> None:
    knobs = {"max_steps": 1, "gradient_clip": 0.5}
    # The gradient of each row is the sum of the samples: the last two columns are 2 and 4.
    by_norm, by_value = (
        1 - fit(tmp_path, **knobs, gradient_clip_algorithm=how).layer.weight for how in ("norm", "value")
    )
    assert float(by_norm.norm()) == pytest.approx(0.5, rel=1e-4)
    assert float(by_norm[0, 3] / by_norm[0, 2]) == pytest.approx(2)
    torch.testing.assert_close(by_value[:, 2:], torch.full((2, 2), 0.5))


def test_sanity_validation_comes_before_the_first_step(tmp_path: Path) -> None:
    order = fit(tmp_path, num_sanity_val_steps=2).seen["order"]
    assert order[:3] == ["val", "val", "train"] and order.count("val") == 12 + 2


def test_batch_norms_of_all_processes_are_one_which_torch_has_on_gpus_only(tmp_path: Path) -> None:
    assert counts(fit(tmp_path, strategy="ddp", max_steps=1)) == (1, 0)
    with pytest.raises(ValueError, match="SyncBatchNorm layers only work with GPU"):
        fit(tmp_path, strategy="ddp", sync_batchnorm=True, max_steps=1)


@pytest.mark.parametrize(
    ("knobs", "world", "steps"),
    [
        (["trainer.max_steps=100"], 1, 100),
        (["trainer.max_steps=100", "trainer.max_epochs=3"], 1, 8),  # 30 samples, 4 a step
        (["trainer.max_steps=100", "trainer.max_epochs=3", "trainer.accumulate=2"], 2, 2),
        (["trainer.max_steps=5", "trainer.max_epochs=3"], 1, 5),
    ],
)
def test_epochs_are_passes_over_the_training_set(knobs: list[str], world: int, steps: int) -> None:
    assert total_steps(compose("demo", ["data.batch_size=4", *knobs]), 10, world) == steps
