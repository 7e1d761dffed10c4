"""What TensorBoard reads of runs, through its own plugin: curves without `epoch`, and a row of HPARAMS for each."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from lit_pure.config.compose import compose
from lit_pure.lit.board import Board, log_hyperparameters, settings_of

MODES = {"none": 21.0, "perception": 22.0, "full": 23.0}
"""A sweep of three values, and what each came to."""


def finish(folder: Path, version: str, psnr: float, *overrides: str) -> None:
    """A run with a curve, finished after nine steps."""
    board = Board(folder, "sweep", version, default_hp_metric=False)
    board.log_metrics({"train/loss": 2.0, "epoch": 0}, 1)
    board.log_metrics({"test/demo/psnr": psnr, "epoch": 0}, 9)
    summary = {"test/demo/psnr": psnr, "train/loss_last": 1.5, "name": "x", "metrics": {"border": 4}}
    log_hyperparameters([board], compose("demo", overrides), summary, 9, f"sweep/{version}")
    board.finalize("success")


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """The finished variants of a sweep."""
    for mode, psnr in MODES.items():
        finish(tmp_path, mode, psnr, f"sequence.guidance_mode={mode}")
    return tmp_path


def hparams(folder: Path) -> tuple[api_pb2.Experiment, list[api_pb2.SessionGroup]]:
    """Columns and rows, as HPARAMS asks for them."""
    provider = MultiplexerDataProvider(EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload(), str(folder))
    context, asked = Context(SimpleNamespace(data_provider=provider)), RequestContext()  # type: ignore[no-untyped-call]
    wanted = api_pb2.GetExperimentRequest(include_metrics=True, hparams_limit=1000)
    columns = get_experiment.Handler(asked, context, "", wanted).run()
    request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100, include_metrics=True)
    request.allowed_statuses.extend(api_pb2.Status.values())
    for info in columns.hparam_infos:
        request.col_params.add(hparam=info.name, include_in_result=True)
    for info in columns.metric_infos:
        request.col_params.add(metric=info.name)
    return columns, list(list_session_groups.Handler(asked, context, "", request).run().session_groups)


def test_curves_have_no_epoch_and_figures_keep_their_step(events: Path) -> None:
    read = EventAccumulator(str(events / "sweep" / "full")).Reload()
    assert set(read.Tags()["scalars"]) == {"train/loss", "test/demo/psnr", "train/loss_last"}
    assert [(event.step, event.value) for event in read.Scalars("test/demo/psnr")] == [(9, 23.0)], "no second dot"


def test_a_sweep_of_three_values_is_three_rows_of_what_differs_and_what_it_came_to(events: Path) -> None:
    columns, rows = hparams(events)
    assert [info.name for info in columns.hparam_infos if info.differs] == ["sequence.guidance_mode"]
    assert columns.hparam_infos[0].name == "sequence.guidance_mode", "the plugin shows the first few columns"
    assert {row.name for row in rows} == {f"sweep/{mode}" for mode in MODES}
    for row in rows:
        mode = row.hparams["sequence.guidance_mode"].string_value
        assert row.name == f"sweep/{mode}" and row.hparams["optim.lr"].number_value == compose("demo").optim.lr
        figures = {value.name.tag: value.value for value in row.metric_values}
        assert figures["test/demo/psnr"] == MODES[mode] and figures["train/loss_last"] == 1.5
        (session,) = row.sessions
        assert session.status == api_pb2.STATUS_SUCCESS


def test_runs_of_another_family_have_their_columns_too(events: Path) -> None:
    board = Board(events, "tokenizer", "version_0", default_hp_metric=False)
    log_hyperparameters([board], compose("tokenizer/nano"), {"test/demo/psnr": 30.0}, 9, "tokenizer/version_0")
    board.finalize("success")
    columns, rows = hparams(events)
    assert {"vq.codes", "sequence.guidance_mode"} <= {info.name for info in columns.hparam_infos}
    assert len(rows) == len(MODES) + 1


def test_settings_are_plain_values_and_lists_are_text() -> None:
    settings = settings_of(compose("demo"))
    assert settings["optim.betas"] == "[0.9, 0.95]" and settings["trainer.max_steps"] == 60
    assert settings["needs.dem"] == "dem/bsds500/shipped"


def test_without_a_board_nothing_is_written(tmp_path: Path) -> None:
    log_hyperparameters([], compose("demo"), {"test/demo/psnr": 20.0}, 0, "demo/version_0")
    assert isinstance(Board(tmp_path), TensorBoardLogger) and not list(tmp_path.iterdir())
