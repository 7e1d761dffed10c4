"""Run folders and reports, without any model."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from lit_pure import __version__
from lit_pure.config.compose import PROJECT, ConfigError, compose, save
from lit_pure.files.atomic import write_json
from lit_pure.report.overview import comparison, overview, text, to_table
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
            for name in runs.OURS:
                (folder / name).touch()
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


@pytest.mark.parametrize("content", ["[1, 2]", '{"test/a/psnr": 30.0}', "", "\x00"])
@pytest.mark.parametrize("beside", [(), ("config.yaml",), ("provenance.json",)])
def test_a_summary_of_another_tool_is_no_run(content: str, beside: tuple[str, ...], three: Path) -> None:
    folder = three / "runs" / "yolo" / "version_0"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(content)
    for name in beside:
        (folder / name).touch()
    assert {run.label for run in runs.finished()} == {"demo/version_0", "demo/version_10"}


def test_a_missing_run_is_refused_with_the_command_that_makes_it(three: Path) -> None:
    with pytest.raises(MissingRun, match="make it with: make exp NAME=pure/nano$"):
        runs.require("pure/nano")
    with pytest.raises(MissingRun, match="make exp NAME=demo$"):
        runs.require("demo/version_2")


def test_a_mistyped_run_is_refused_with_the_name_of_an_experiment_and_not_with_a_command_that_fails(
    three: Path,
) -> None:
    for name, wanted in (("pure/nan", "pure/nano"), ("runs/tokenizer/nanno/version_0", "tokenizer/nano")):
        with pytest.raises(MissingRun, match=rf"no experiment '.*' .*; did you mean {wanted}\?$"):
            runs.require(name)


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
    assert "22.50" in text(table) and "30.00" in text(table) and "psnr ↑" in text(table)


def test_figures_of_a_column_have_equal_decimals_and_an_arrow_where_better_ones_are(three: Path) -> None:
    frame = pd.DataFrame(
        {
            "test/a/psnr": [11.2, 12.24],
            "test/a/lpips": [0.5, float("nan")],
            "steps": [20, 3000],
            "test/a/blur_accuracy": [0.5, 0.51234],
            "tokens_per_second": [99.25, 1234.5],
        },
        index=["one", "two"],
    )
    heads, first, second = text(frame).splitlines()
    assert ["11.20", "0.5000", "20", "0.5000", "99"] == first.split()[1:]
    assert ["12.24", "3000", "0.5123", "1234"] == second.split()[1:]
    assert "psnr ↑" in heads and "lpips ↓" in heads and "steps ↑" not in heads and "accuracy ↑" not in heads
    table = to_table(frame)
    assert dict(table.columns)["test/a/lpips"] == "lower"
    assert [cell.text for cell in table.blocks[0][1].cells] == ["12.24", "-", "3000", "0.5123", "1234"]


def test_the_table_of_a_run_says_of_how_many_photographs(three: Path) -> None:
    run = runs.require("demo")
    assert "n" not in comparison(run), "without scores of single pictures nobody knows"
    lines = ["test_set,image,method,psnr", *(f"a,{name},restored,30.0" for name in "xyz")]
    (run.folder / "scores.csv").write_text("\n".join(lines) + "\n")
    try:
        assert list(comparison(run)["n"]) == [3, 3, 3]
    finally:
        (run.folder / "scores.csv").unlink()


def test_a_run_remembers_its_experiment(three: Path) -> None:
    run = runs.require("demo")
    save(compose("demo"), run.folder / "config.yaml")
    assert run.experiment() == compose("demo")


def test_a_folder_in_which_no_run_can_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs.require_writable()
    assert not runs.ROOT.exists(), "nothing is made"
    with monkeypatch.context() as patch:  # who is root may write anywhere
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(ConfigError, match=rf"^{tmp_path}/runs: runs cannot be written there; .*: cd FOLDER$"):
            runs.require_writable()
    runs.ROOT.touch()
    with pytest.raises(ConfigError, match="runs cannot be written there"):
        runs.require_writable()


@pytest.mark.skipif(shutil.which("git") is None or not (PROJECT / ".git").exists(), reason="not a git checkout")
def test_a_wheel_records_no_commit_of_a_repository_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs.surroundings()["version"] == __version__ and runs.surroundings()["git"]["commit"]
    monkeypatch.setattr(runs, "INSTALLED", True)
    assert runs.surroundings()["git"] == {}
