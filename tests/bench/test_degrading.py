"""`bench degrade` end to end with tiny settings, and what it compares."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.bench.basicsr_pipeline import BasicsrPipeline
from lit_pure.bench.degrading import compare
from lit_pure.config.data import DegradationConfig
from lit_pure.images.io import write_png


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        picture = torch.rand(3, 100, 120, generator=torch.Generator().manual_seed(number))
        write_png(folder / f"{number}.png", picture)
    return folder


def test_bench_degrade_prints_and_writes_a_row_per_size(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "degrade.json"
    flags = ["--sizes", "96x2,100x1", "--photos", str(photos), "--rounds", "3", "--batches", "1", "--json", str(report)]
    assert main(["bench", "degrade", *flags]) == 0
    written = json.loads(report.read_text())
    assert (written["device"], written["rounds"], written["batches"]) == ("cpu", 3, 1)
    assert [(row["size"], row["batch"]) for row in written["rows"]] == [(96, 2), (100, 1)]
    for row in written["rows"]:
        assert row["basicsr"] > 0 and row["ours"] > 0 and row["lowest"] <= row["ratio"] <= row["highest"]
    assert "ratio" in capsys.readouterr().out


def test_bench_degrade_gives_every_batch_to_both_pipelines_and_reports_progress(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    degrade = BasicsrPipeline.degrade
    monkeypatch.setattr(
        BasicsrPipeline, "degrade", lambda self, *arguments: seen.append("basicsr") or degrade(self, *arguments)
    )
    monkeypatch.setattr("lit_pure.bench.degrading.degrade", lambda *arguments: seen.append("ours"))
    told: list[int] = []
    [row] = compare(str(photos), [(96, 2)], 2, 3, lambda name, total: told.append(-total) or told.append)
    assert seen == ["basicsr", "ours"] * 9 and sum(told) == 0 and told[0] == -18
    assert row.ours > row.basicsr  # ours does nothing here


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sizes", "512"], "expected SIDExBATCH"),
        (["--sizes", "512x4,64x4"], "a multiple of 4 from 96"),
        (["--sizes", "98x4"], "a multiple of 4 from 96"),
        (["--sizes", "128x0"], "expected SIDExBATCH"),
        (["--rounds", "0"], "give 1 or more"),
        (["--threads", "-1"], "--threads -1"),
        (["--photos", "nowhere"], "--photos: nowhere: no such folder"),
        (["--photos", __file__], "is a file; name its folder"),
    ],
)
def test_mistakes_in_bench_degrade_s_flags_are_refused(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "degrade", *flags]) == 2
    assert words in capsys.readouterr().err


def test_bench_degrade_names_photographs_that_are_too_small(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "degrade", "--sizes", "128x1", "--photos", str(photos)]) == 1
    assert "shorter than 128" in capsys.readouterr().err


def test_basicsr_s_pipeline_draws_from_the_global_generators() -> None:
    hq_B3HW = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    results = []
    for seed in (0, 0, 1):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        results.append(BasicsrPipeline().degrade(hq_B3HW, DegradationConfig()))
    assert results[0].shape == (2, 3, 24, 24) and 0 <= results[0].min() and results[0].max() <= 1
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
