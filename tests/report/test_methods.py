"""All methods on the same pictures: baselines once, intervals by scipy's bootstrap, marks among equals alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from lit_pure.__main__ import main
from lit_pure.metrics.evaluation import mean_of
from lit_pure.report.methods import methods_table

PSNR = [20.0, 22.0, 25.0, 21.0, 24.0, 23.0, 22.5, 19.0, 26.0, 21.5, 23.5, 22.5]


def test_baselines_stand_once_above_the_runs_with_intervals(make) -> None:
    runs = [make(name, {"a": {"psnr": [value + up for value in PSNR]}}) for up, name in enumerate(("one", "two"))]
    table = methods_table(runs)
    [block] = table.blocks
    assert [row.head for row in block] == [
        ("a", "bicubic", "12"),
        ("a", "one/version_0", "12"),
        ("a", "two/version_0", "12"),
    ]
    assert [row.cells[0].text for row in block] == ["99.00", "22.50", "23.50"]
    assert [row.cells[0].mark for row in block] == ["best", "", "second"]
    by_name = [PSNR[int(name)] for name in sorted(map(str, range(len(PSNR))))]  # resamples depend on the order
    expected = mean_of("psnr", by_name)
    assert block[1].cells[0].aside == f"{expected.low:.2f} .. {expected.high:.2f}"
    assert expected.low < np.mean(PSNR) < expected.high
    assert not table.notes


def test_runs_with_other_pictures_are_not_ranked_and_it_is_said(make) -> None:
    runs = [make("one", {"a": {"psnr": PSNR}}), make("two", {"a": {"psnr": PSNR[:4]}})]
    table = methods_table(runs)
    assert [row.head[1] for row in table.blocks[0]] == [
        "bicubic", "bicubic of two/version_0", "one/version_0", "two/version_0",
    ]  # fmt: skip
    assert all(not cell.mark for row in table.blocks[0] for cell in row.cells)
    assert table.notes == ("a: the runs have scores of other pictures; figures do not compare",)


def test_seconds_are_those_of_bench_restore(make) -> None:
    runs = [make(name, {"a": {"psnr": PSNR}}) for name in ("one", "two")]
    content = {"size": 128, "device": "x", "seconds_per_image": 0.4567, "parameters": {"total": 10}}
    (runs[1].folder / "complexity.json").write_text(json.dumps(content))
    table = methods_table(runs)
    assert table.columns == {"psnr": "higher", "seconds": "lower"}
    assert [row.cells[1].text for row in table.blocks[0]] == ["-", "-", "0.457"]


def test_the_command_takes_one_test_set_and_refuses_what_does_not_fit(
    make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make("one", {"a": {"psnr": PSNR}, "b": {"psnr": PSNR}})
    assert main(["report", "--methods", "one", "--test-set", "b", "--format", "csv"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["b", "b"]
    make("bare", {"a": {"psnr": 20.0}})
    for words, told in (
        (["one", "--test-set", "c"], "no run has a test set c; leave out --test-set"),
        (["bare"], "bare/version_0 has no scores of single pictures"),
        (["one", "--intervals"], "--methods has a layout of its own"),
    ):
        assert main(["report", "--methods", *words]) != 0
        assert told in capsys.readouterr().err
