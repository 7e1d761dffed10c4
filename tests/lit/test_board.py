"""What TensorBoard reads of a run: curves without `epoch`, and one row of HPARAMS."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    SESSION_START_INFO_TAG,
    parse_session_start_info_plugin_data,
)

from lit_pure.config.compose import compose
from lit_pure.lit.board import Board, log_hyperparameters


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Two finished variants of a sweep, each with a curve."""
    for seed in (3, 4):
        board = Board(tmp_path, "sweep", f"seed={seed}", default_hp_metric=False)
        board.log_metrics({"train/loss": 2.0, "epoch": 0}, 1)
        board.log_metrics({"test/demo/psnr": 20.0 + seed, "epoch": 0}, 9)
        summary = {"test/demo/psnr": 20.0 + seed, "train/loss_last": 1.5, "name": "x", "metrics": {"border": 4}}
        log_hyperparameters([board], compose("demo", [f"seed={seed}"]), summary, 9)
        board.finalize("success")
    return tmp_path


def test_curves_have_no_epoch_and_figures_keep_their_step(events: Path) -> None:
    read = EventAccumulator(str(events / "sweep" / "seed=3")).Reload()
    assert set(read.Tags()["scalars"]) == {"train/loss", "test/demo/psnr", "train/loss_last"}
    assert [(event.step, event.value) for event in read.Scalars("test/demo/psnr")] == [(9, 23.0)], "no second dot"


def test_hparams_has_a_row_for_each_run_with_its_settings_and_figures(events: Path) -> None:
    read = EventMultiplexer().AddRunsFromDirectory(str(events)).Reload()
    found = read.PluginRunToTagToContent("hparams")
    assert set(found) == {"sweep/seed=3", "sweep/seed=4"}
    for run, seed in (("sweep/seed=3", 3), ("sweep/seed=4", 4)):
        start = parse_session_start_info_plugin_data(found[run][SESSION_START_INFO_TAG])
        values = {key: start.hparams[key] for key in start.hparams}
        assert values["seed"].number_value == seed and values["sequence.guidance_mode"].string_value == "full"
        assert values["optim.lr"].number_value == compose("demo").optim.lr
        told = plugin_data_pb2.HParamsPluginData.FromString(found[run][EXPERIMENT_TAG])
        figures = {info.name.tag for info in told.experiment.metric_infos}
        assert figures == {"test/demo/psnr", "train/loss_last"}
        assert figures <= set(read.GetAccumulator(run).Tags()["scalars"])


def test_without_a_board_nothing_is_written(tmp_path: Path) -> None:
    log_hyperparameters([], compose("demo"), {"test/demo/psnr": 20.0}, 0)
    assert isinstance(Board(tmp_path), TensorBoardLogger) and not list(tmp_path.iterdir())
