"""Means with intervals are the same, and within the metric's range, wherever they are shown."""

from pathlib import Path

import numpy as np
import pytest

from lit_pure.files.atomic import write_json
from lit_pure.metrics.choice import Choice
from lit_pure.metrics.evaluation import Evaluation, mean_of
from lit_pure.metrics.intervals import Interval, bootstrap_mean
from lit_pure.metrics.rows import ScoreRow, write_rows
from lit_pure.report import measured
from lit_pure.restoring.reconstruct import CodeUse, ReconstructedFile, Reconstructions
from lit_pure.runs.folder import Run

SSIM = [0.99, 0.98, 0.99, 0.5, 0.97, 0.98, 0.99, 0.96]
"""One far off, so that the interval of the mean would go beyond 0 and 1."""


def evaluated() -> Interval:
    found = Evaluation({"ours": Path("ours")}, None, Choice(("ssim",), {}))
    found.scores["ours"] = {str(name): {"ssim": value} for name, value in enumerate(SSIM)}
    return found.means()["ours"]["ssim"]


def reconstructed() -> Interval:
    outcomes = [ReconstructedFile(Path(f"{name}.png"), str(name), {"ssim": value}) for name, value in enumerate(SSIM)]
    return Reconstructions(["ssim"], CodeUse(4), outcomes).means()["ssim"]


def reported(folder: Path) -> Interval:
    write_json(folder / "summary.json", {"family": "pure", "test/demo/ssim": float(np.mean(SSIM))})
    rows = [ScoreRow("demo", "restored", str(name), {"ssim": value}) for name, value in enumerate(SSIM)]
    write_rows(folder / "scores.csv", rows, ["ssim"])
    [result] = measured.run_results(Run(folder), spread=True)
    found = result.figures["ssim"]
    assert found.interval is not None and found.n is not None
    return Interval(found.mean, *found.interval, found.n)


def test_an_interval_of_ssim_stays_in_its_range_everywhere(tmp_path: Path) -> None:
    free = bootstrap_mean(SSIM, np.random.default_rng(0))
    assert free.low < 0 and free.high > 1, "without its range"
    found = [evaluated(), reconstructed(), reported(tmp_path), mean_of("ssim", SSIM)]
    assert found == [found[0]] * 4
    assert (found[0].low, found[0].high) == (0, 1) and found[0].mean == pytest.approx(np.mean(SSIM))


def test_a_figure_that_is_no_metric_has_no_range() -> None:
    assert mean_of("of_my_own", SSIM) == bootstrap_mean(SSIM, np.random.default_rng(0))
