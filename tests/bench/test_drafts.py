"""First drafts and windows on a trained run, through the command."""

import json
from pathlib import Path

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.images.io import write_png


def test_bench_drafts_compares_first_guesses_on_photographs(house: Path, tmp_path: Path) -> None:
    for number in range(2):
        picture = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(number))
        write_png(tmp_path / f"{number}.png", picture)
    report = tmp_path / "drafts.json"
    assert main(["bench", "drafts", str(tmp_path), "--run", "demo", "--windows", "4,8", "--json", str(report)]) == 0
    written = json.loads(report.read_text())
    plain, *others = written["rows"]
    cells = (96 // 8) ** 2
    assert written["photos"] == 2 and (plain["engine"], plain["passes"], plain["fewer"]) == ("plain", cells, 1)
    assert [(row["drafts"], row["window"]) for row in others] == [
        (drafts, window) for drafts in ("lq", "left", "random") for window in (4, 8)
    ]
    for row in others:
        assert row["passes"] < cells and row["fewer"] == pytest.approx(cells / row["passes"])


def test_bench_drafts_names_what_it_cannot_compare(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "small.png", torch.rand(3, 10, 10))
    assert main(["bench", "drafts", str(tmp_path), "--run", "demo"]) == 1
    assert "smaller than 24 x 24 px" in capsys.readouterr().err
    for windows in ("1", "4,x", ""):
        assert main(["bench", "drafts", str(tmp_path), "--run", "demo", "--windows", windows]) == 2
        assert f"--windows {windows}: expected numbers" in capsys.readouterr().err


def test_bench_decode_compares_the_engines_on_a_run(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "0.png", torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0)))
    report, asked = tmp_path / "decode.json", ["bench", "decode", "--run", "demo", "--photos", str(tmp_path)]
    assert main([*asked, "--window", "4", "--json", str(report)]) == 0
    plain, jacobi = json.loads(report.read_text())["rows"]
    assert (plain["engine"], plain["ratio"], jacobi["engine"], jacobi["window"]) == ("plain", 1, "jacobi", 4)
    assert jacobi["ratio"] == pytest.approx(jacobi["per_processor_second"] / plain["per_processor_second"])
    assert main([*asked, "--preset", "tiny"]) == 2
    assert "--preset does not go with --run" in capsys.readouterr().err
