"""The loggers of a run, with the real packages: what they write, where, and after a resume."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger

from lit_pure.config.compose import compose
from lit_pure.config.training import LoggerName
from lit_pure.lit.board import log_hyperparameters, settings_of
from lit_pure.lit.loggers import QUIET, close, make_loggers
from lit_pure.runs.resume import RunPoint

BLOCK, HEADER, WHOLE, LAST = 32768, 7, 1, 4
"""Of LevelDB's logs: sizes of blocks and headers [byte], and kinds of parts of a message."""
VARIABLES = [*QUIET, *(f"WANDB_{kind}_DIR" for kind in ("CACHE", "CONFIG", "DATA"))]


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run's folder below an empty working directory; the user's home is an empty folder, too."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = {name: os.environ.pop(name, None) for name in VARIABLES}
    folder = Path("runs/demo/version_0")
    folder.mkdir(parents=True)
    yield folder
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def launch(names: list[LoggerName], folder: Path, steps: range) -> list[Logger]:
    """One launch of a run, with a loss for each step."""
    experiment = compose("demo", ["seed=3"])
    loggers = make_loggers(names, RunPoint(folder, step=steps.start), settings_of(experiment))
    for step in steps:
        for logger in loggers:
            logger.log_metrics({"train/loss": 10.0 - step, "epoch": 0}, step)
    if steps.stop == 6:  # it finishes
        log_hyperparameters(loggers, experiment, {"train/loss_last": 4.0, "test/demo/psnr": 20.0}, 6, "demo/version_0")
    for logger in loggers:
        logger.finalize("success")
    close(loggers)
    return loggers


def outside(folder: Path) -> list[Path]:
    """Files that are not in the folder of the run."""
    here, whole = Path.cwd(), folder.absolute()
    return [path for path in here.parent.rglob("*") if path.is_file() and not path.is_relative_to(whole)]


def test_mlflow_keeps_one_run_in_files_of_the_run_folder(run_folder: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    launch(["mlflow"], run_folder, range(3))
    launch(["mlflow"], run_folder, range(3, 6))
    client = mlflow.tracking.MlflowClient((run_folder.absolute() / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("demo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "demo/version_0" and run.info.status == "FINISHED"
    assert run.data.params["seed"] == "3" and run.data.params["optim.lr"] == "0.0002"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in history] == [(step, 10.0 - step) for step in range(6)]
    assert run.data.metrics["train/loss_last"] == 4.0 and "epoch" not in run.data.metrics
    assert not outside(run_folder)


def records(file: Path) -> list[Any]:
    """What an offline run of wandb holds: messages in LevelDB's format for logs, behind seven bytes."""
    from wandb.proto import wandb_internal_pb2

    content, found, message, place = file.read_bytes(), [], b"", 7
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:  # the rest of a block is empty
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        message += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (WHOLE, LAST):
            found.append(wandb_internal_pb2.Record.FromString(message))
            message = b""
    return found


def test_wandb_writes_offline_into_the_run_folder_and_launches_of_a_run_are_a_group(run_folder: Path) -> None:
    pytest.importorskip("wandb")
    launch(["wandb"], run_folder, range(3))
    launch(["wandb"], run_folder, range(3, 6))
    files = sorted(run_folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime)
    found = [record for file in files for record in records(file)]
    made = [record.run for record in found if record.HasField("run")]
    assert [(run.display_name, run.run_group) for run in made] == [("demo/version_0", "demo/version_0")] * 2
    assert len({run.run_id for run in made}) == 2, "each launch is a run, for wandb counts steps from 0 in each"
    logged = [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in found
        if record.HasField("history")
    ]
    losses = [float(row["train/loss"]) for row in logged if "train/loss" in row]
    assert sorted(losses, reverse=True) == [10.0 - step for step in range(6)]
    assert not any("epoch" in row for row in logged) and any("train/loss_last" in row for row in logged)
    assert not outside(run_folder)


def test_a_resumed_run_keeps_its_table_and_others_begin_where_they_were(run_folder: Path) -> None:
    launch(["tensorboard", "csv"], run_folder, range(4))
    launch(["csv"], run_folder, range(3, 5))
    lines = (run_folder / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 5 and lines[0].split(",")[:1] == ["epoch"]
    assert len(list(run_folder.glob("events*"))) == 1
