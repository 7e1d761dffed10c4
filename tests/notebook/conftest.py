"""Run folders with scores and pictures of known values, made by hand: no model, no training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lit_pure.config.compose import compose, save
from lit_pure.files.atomic import write_json
from lit_pure.images.io import write_png
from lit_pure.metrics.rows import ScoreRow, write_rows
from lit_pure.runs.folder import Run

BICUBIC = (20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0)
IMAGES = ("a", "b", "c", "d", "e", "f", "g", "h")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIT_PURE_RUNS", raising=False)
    return tmp_path


@pytest.fixture
def make_run(place):
    """A function that makes a finished run: `psnr` of each image, and settings that differ from the demo's.

    `more` are the restored PSNR of a second test set; `method` reconstructed makes a tokenizer's run, without bicubic.
    """

    def make(
        name, psnr=(), bicubic=BICUBIC, overrides=(), started="2026-01-01", shade=0.5, more=(), method="restored",
        experiment="demo", truth=0,
    ):  # fmt: skip
        run = Run(Path("runs") / name / "version_0")
        run.folder.mkdir(parents=True)
        composed = compose(experiment, ["data.size=32", *overrides])
        composed.name = name
        save(composed, run.folder / "config.yaml")
        write_json(run.folder / "provenance.json", {"started": started, "seed": 0, "needs": {}})
        write_json(run.folder / "summary.json", {"family": "pure", "steps": 5, "parameters": 1_500_000})
        if psnr:
            found = {("demo", method): psnr, ("demo", "bicubic"): bicubic[: len(psnr)], ("second", method): more}
            rows = [
                ScoreRow(test_set, who, image, {"psnr": value})
                for (test_set, who), values in found.items()
                for image, value in zip(IMAGES, values, strict=False)
            ]
            write_rows(run.folder / "scores.csv", rows, ["psnr"])
            _pictures(run, len(psnr), shade, method, truth)
        return run

    return make


def _pictures(run: Run, count: int, shade: float, method: str, truth: int) -> None:
    """A uniform picture of a shade that the run made, and LQ and ground truth that a seed decides."""
    rng = np.random.default_rng(truth)
    for image in IMAGES[:count]:
        hq_3HW = torch.from_numpy(rng.random((3, 32, 32), dtype=np.float32))
        for kind, picture in (
            ("hq", hq_3HW),
            ("lq", hq_3HW[:, ::4, ::4]),
            (method, torch.full((3, 32, 32), shade)),
        ):
            folder = run.folder / "images" / "demo" / kind
            folder.mkdir(parents=True, exist_ok=True)
            write_png(folder / f"{image}.png", picture)
