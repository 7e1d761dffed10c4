"""Run folders and reports, without any model."""

import json
from pathlib import Path

import pytest

from lit_pure.config.compose import compose, save
from lit_pure.files.atomic import write_json
from lit_pure.report.overview import comparison, overview, text
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import MissingRun


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """demo/version_0 and version_10 are finished, version_2 and version_11 are not."""
    monkeypatch.chdir(tmp_path)
    for version in (0, 2, 10, 11):
        folder = tmp_path / "runs" / "demo" / f"version_{version}"
        folder.mkdir(parents=True)
        if version in (0, 10):
            row = {"family": "pure", "train/loss_last": 1.5, "test/a/psnr": 20.0 + version, "test/a/bicubic_psnr": 22.5}
            row["test/a/realesrgan-x4plus_psnr"] = 21.5
            write_json(folder / "summary.json", row)
    return tmp_path


def test_the_newest_finished_run_is_found_by_number(three: Path) -> None:
    assert [run.label for run in runs.versions("demo")] == [f"demo/version_{i}" for i in (0, 2, 10, 11)]
    assert runs.require("demo").label == "demo/version_10"
    assert runs.require("demo/version_0").label == "demo/version_0"
    assert runs.require("runs/demo/version_0/").label == "demo/version_0", "as shells complete it"
    assert runs.newest_finished("demo/version_2") is None


def test_a_shipped_run_is_taken_where_no_own_run_is_finished(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SHIPPED_ROOT", three / "data" / "runs")
    for name in ("demo", "dem/nano"):
        folder = three / "data" / "runs" / name / "shipped"
        folder.mkdir(parents=True)
        write_json(folder / "summary.json", {"family": "dem"})
    assert runs.require("dem/nano").label == "dem/nano/shipped" == runs.require("dem/nano/shipped").label
    assert runs.require("demo").label == "demo/version_10" and runs.require("demo/shipped").label == "demo/shipped"
    assert runs.experiment_of("dem/nano/shipped") == "dem/nano" == runs.experiment_of("dem/nano")
    assert [run.label for run in runs.finished()] == ["demo/version_0", "demo/version_10"], "reports show own runs"
    with pytest.raises(MissingRun, match="make exp NAME=pure/nano$"):
        runs.require("pure/nano/shipped")


def test_a_missing_run_is_refused_with_the_command_that_makes_it(three: Path) -> None:
    with pytest.raises(MissingRun, match="make it with: make exp NAME=pure/nano$"):
        runs.require("pure/nano")
    with pytest.raises(MissingRun, match="make exp NAME=demo$"):
        runs.require("demo/version_2")


def test_a_damaged_summary_is_named(three: Path) -> None:
    path = three / "runs" / "demo" / "version_10" / "summary.json"
    for damage in (b'{"family": ', b"[]", b"null", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match="version_10/summary.json cannot be read"):
            runs.require("demo").summary()


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"bad": object()})
    assert not (tmp_path / "a.json").exists()
    write_json(tmp_path / "a.json", {"good": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"good": 1}
    assert [path.name for path in tmp_path.glob("*.json")] == ["a.json"]


def test_provenance_says_what_a_run_comes_from() -> None:
    row = runs.provenance(3, {"dem": "dem/nano/version_0"}, {"train": "abc"}, ["/any/path/__main__.py", "run", "demo"])
    assert row["seed"] == 3 and row["command"] == ["lit-pure", "run", "demo"] and row["dataset"] == {"train": "abc"}
    assert set(row["packages"]) >= {"torch", "lightning", "pyiqa", "omegaconf"}


def test_runs_are_compared_in_tables(three: Path) -> None:
    table = comparison(runs.require("demo"))
    assert table.loc[("a", "bicubic"), "psnr"] == 22.5
    assert table.loc[("a", "restored"), "psnr"] == 30.0
    assert list(table.index) == [("a", "bicubic"), ("a", "realesrgan-x4plus"), ("a", "restored")]
    assert table.loc[("a", "realesrgan-x4plus"), "psnr"] == 21.5
    everything = overview(runs.finished())
    assert list(everything.index) == ["demo/version_0", "demo/version_10"]
    assert "bicubic" not in text(everything) and "realesrgan" not in text(everything)
    assert "22.5" in text(table)


def test_a_run_remembers_its_experiment(three: Path) -> None:
    run = runs.require("demo")
    save(compose("demo"), run.folder / "config.yaml")
    assert run.experiment() == compose("demo")
