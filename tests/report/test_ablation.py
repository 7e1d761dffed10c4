"""An ablation's table: baselines once, what differs, intervals and paired differences, marks among equals alone."""

import json

import numpy as np
import pytest

from lit_pure.__main__ import main
from lit_pure.config.compose import compose_as, override, save
from lit_pure.config.pure import PureExperiment
from lit_pure.metrics.evaluation import mean_of
from lit_pure.metrics.intervals import Interval, paired_difference
from lit_pure.metrics.table import METRICS
from lit_pure.report.ablation import ablation_table

MANY = ["sampling.k_max=7", "sampling.mu=3", "sampling.guidance=1", "optim.lr=1e-3", "seed=3"]
PSNR = [20.0, 22.0, 25.0, 21.0, 24.0, 23.0, 22.5, 19.0, 26.0, 21.5, 23.5, 22.5]


def expected_span(form: str, found: Interval) -> str:
    return f"{found.low:{form}} .. {found.high:{form}}"


def by_name(values: list[float]) -> list[float]:
    """Scores in the order of their pictures' names: "0", "1", "10", "11", "2", and so on."""
    return [values[index] for index in sorted(range(len(values)), key=str)]


def test_baselines_stand_once_above_the_runs_with_intervals(make) -> None:
    runs = [make(name, {"a": {"psnr": [value + up for value in PSNR]}}) for up, name in enumerate(("one", "two"))]
    table = ablation_table(runs)
    [block] = table.blocks
    assert [row.head for row in block] == [
        ("a", "bicubic", "12"),
        ("a", "one/version_0", "12"),
        ("a", "two/version_0", "12"),
        ("a", "  minus one/version_0", "12"),
    ]
    assert [row.cells[0].text for row in block] == ["99.00", "22.50", "23.50", "+1.00"]
    assert [row.cells[0].mark for row in block] == ["best", "", "second", ""]
    assert block[1].cells[0].aside == expected_span(".2f", mean_of("psnr", by_name(PSNR)))
    assert block[3].cells[0].aside == ""  # equal differences say nothing about their spread


def test_a_difference_is_that_of_the_same_pictures(make) -> None:
    """Of the pictures that both have, whatever else either has."""
    shift = [0.5, -0.1, 0.3, 0.4, 0.2, 0.6, 0.1, 0.0, 0.35]
    shifted = [value + up for value, up in zip(PSNR[:9], shift, strict=True)]
    runs = [make("one", {"a": {"psnr": PSNR}}), make("two", {"a": {"psnr": shifted}})]
    row = ablation_table(runs).blocks[0][-1]
    assert row.head == ("a", "  minus one/version_0", "9") and row.cells[0].text == "+0.26"
    bounds = METRICS["psnr"].range
    expected = paired_difference(shifted, PSNR[:9], np.random.default_rng(0), bounds=bounds).difference
    assert row.cells[0].aside == expected_span("+.2f", expected)


def test_what_differs_between_the_settings_has_columns_of_its_own(make) -> None:
    names = ("none", "perception", "full")
    runs = [make(name, {"a": {"psnr": PSNR}}) for name in names]
    for run, mode in zip(runs, names, strict=True):
        (run.folder / "config.yaml").unlink()
        save(
            override(compose_as(PureExperiment, "pure/nano"), [f"sequence.guidance_mode={mode}"]),
            run.folder / "config.yaml",
        )
    table = ablation_table(runs)
    assert table.heads == ("test set", "method", "guidance_mode", "n")
    own = [row.head[2] for row in table.blocks[0]]
    assert own == ["", "none", "perception", "", "full", ""]
    save(override(compose_as(PureExperiment, "pure/nano"), MANY), runs[0].folder / "config.yaml")
    table = ablation_table(runs)
    assert table.heads == ("test set", "method", "n") and "settings differ, too many for a table" in table.notes[0]


def test_runs_without_single_scores_show_their_means(make) -> None:
    runs = [make("one", {"a": {"psnr": 20.0}}), make("two", {"a": {"psnr": 21.0}, "b": {"psnr": 1.0}})]
    table = ablation_table(runs)
    assert [row.head[1:] for row in table.blocks[0]] == [
        ("bicubic", "-"),
        ("one/version_0", "-"),
        ("two/version_0", "-"),
    ]
    assert [row.cells[0].text for row in table.blocks[0]] == ["99.00", "20.00", "21.00"]
    assert [row.head[0] for row in table.blocks[1]] == ["b", "b"]


def test_runs_with_other_pictures_are_not_ranked_and_it_is_said(make) -> None:
    runs = [make("one", {"a": {"psnr": PSNR}}), make("two", {"a": {"psnr": PSNR[:4]}})]
    table = ablation_table(runs)
    assert [row.head[1] for row in table.blocks[0]] == [
        *("bicubic", "bicubic of two/version_0", "one/version_0", "two/version_0", "  minus one/version_0"),
    ]
    assert all(not cell.mark for row in table.blocks[0] for cell in row.cells)
    assert table.notes[-2:-1] == ("a: the runs have scores of other pictures; figures do not compare",)


def test_seconds_are_those_of_bench_restore(make) -> None:
    runs = [make(name, {"a": {"psnr": PSNR}}) for name in ("one", "two")]
    content = {"size": 128, "device": "x", "seconds_per_image": 0.4567, "parameters": {"total": 10}}
    (runs[1].folder / "complexity.json").write_text(json.dumps(content))
    table = ablation_table(runs)
    assert table.columns == {"psnr": "higher", "seconds": "lower"}
    assert [row.cells[1].text for row in table.blocks[0]] == ["-", "-", "0.457", "-"]


def test_the_command_shows_training_and_test_sets_or_one_of_them(make, capsys: pytest.CaptureFixture[str]) -> None:
    make("one", {"a": {"psnr": PSNR}, "b": {"psnr": PSNR}})
    assert main(["report", "--format", "md"]) == 0
    said = capsys.readouterr().out
    assert "**Finished runs**" in said and "| a | one/version_0 | 12 | <u>22.50 (" in said
    assert main(["report", "one", "--test-set", "b", "--format", "md"]) == 0
    said = capsys.readouterr().out
    assert "Finished" not in said and "| b | one/version_0 | 12 |" in said and "| a |" not in said
    for words, told in (
        (["one", "--test-set", "c"], "no run has a test set c; leave out --test-set"),
        (["one", "--intervals"], "--intervals belongs to --layout"),
    ):
        assert main(["report", *words]) != 0
        assert told in capsys.readouterr().err
