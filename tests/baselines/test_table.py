"""The table of baselines, and that a study takes each as an arm beside bicubic, without any run."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.baselines import table
from lit_pure.baselines.table import BASELINES
from lit_pure.config.experiment import BaselineName
from lit_pure.images.io import from_bytes, read_bytes, to_bytes, write_png
from lit_pure.study import score_files
from lit_pure.study.jobs import jobs_of
from lit_pure.study.plan import plan_of
from lit_pure.study.sets import pictures_of

PLAN = """
title: Peers
question: Does it sharpen?
metrics: [psnr]
sets: {mine: {lq: lq, hq: hq}}
arms:
  bicubic: {what: enlarged, method: bicubic}
  small: {what: a small network, method: realesr-animevideov3}
claims: ["psnr: small better than bicubic by -20"]
"""
COMMAND = ["study", "peers", "--out", "one", "--work", "w1", "--workers", "1"]


def test_names_are_those_that_plans_may_use() -> None:
    assert tuple(BASELINES) == get_args(BaselineName)
    assert all(name == one.name and one.licence for name, one in BASELINES.items())


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pairs, and a plan."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    for folder in ("lq", "hq", "data/studies"):
        (tmp_path / folder).mkdir(parents=True)
    for name in "ab":
        hq_13HW = torch.nn.functional.interpolate(
            torch.rand(1, 3, 6, 5, generator=generator), (96, 80), mode="bilinear"
        )
        write_png(tmp_path / "hq" / f"{name}.png", hq_13HW[0])
        write_png(tmp_path / "lq" / f"{name}.png", torch.nn.functional.avg_pool2d(hq_13HW, 4)[0])
    (tmp_path / "data" / "studies" / "peers.yaml").write_text(PLAN)
    return tmp_path


def test_a_study_has_a_row_for_each(asked: Path) -> None:
    if missing := BASELINES["realesr-animevideov3"].missing:
        pytest.skip(f"{missing} not installed")
    assert main(COMMAND) == 0
    page = (asked / "one" / "peers.md").read_text()
    assert "| bicubic | enlarged | 1 |" in page and "| small | a small network | 1 |" in page
    assert "arm `small`: realesr-animevideov3" in page and "Not done yet" not in page
    plan = plan_of("peers")
    bicubic, small = jobs_of(plan, {name: pictures_of(name, one) for name, one in plan.sets.items()})
    assert bicubic.identity["method"] == "bicubic" and "weights" not in bicubic.identity, "as in scores kept before"
    assert small.identity["weights"] == BASELINES["realesr-animevideov3"].identity["weights"]
    for job in (bicubic, small):
        scored = score_files.read(job, asked / "one")
        assert main(["baseline", job.method, "lq", "--out", job.method, "--threads", "1"]) == 0
        for name, one in scored.items():
            made, true = (from_bytes(read_bytes(asked / place / f"{name}.png")) for place in (job.method, "hq"))
            luma = torch.tensor([65.481, 128.553, 24.966])[:, None, None] / 255
            mse = float((((made - true) * luma).sum(0)).square().mean())
            assert one.scores["psnr"] == pytest.approx(-10 * torch.log10(torch.tensor(mse)).item(), abs=0.05)
    assert torch.equal(
        read_bytes(asked / "bicubic" / "a.png"),
        to_bytes(
            torch.nn.functional.interpolate(
                from_bytes(read_bytes(asked / "lq" / "a.png"))[None], (96, 80), mode="bicubic", antialias=True
            ).clamp(0, 1)
        )[0],
    )


def test_a_study_asks_for_what_is_not_installed_before_any_picture(
    asked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert main(COMMAND) == 2
    assert "baseline realesr-animevideov3 needs ncnn" in capsys.readouterr().err and not list(Path("w1").glob("*"))
    assert main([*COMMAND, "--arms", "bicubic"]) == 0
    assert "Not done yet: small, mine, seed 0." in (asked / "one" / "peers.md").read_text()
