"""A family that nobody wrote code for but its own dozen lines: all that the house does with a family works on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.config import families
from lit_pure.config.compose import compose, save
from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.families import table
from lit_pure.families.family import Family
from lit_pure.files.atomic import write_json
from lit_pure.images.colorfix import fix_colors
from lit_pure.images.geometry import resize, unpad
from lit_pure.images.io import from_bytes, read_bytes, to_bytes, write_png
from lit_pure.restoring.contract import Restoration, SquareRestorer
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


@dataclass
class ToyExperiment(RestoringExperiment):
    family: str = "toy"


class ToyRestorer(SquareRestorer):
    """Leaves a square as bicubic enlargement made it."""

    def __init__(self, settings: Experiment) -> None:
        assert isinstance(settings, ToyExperiment)
        self.size, self.scale, self.restoring = settings.data.size, 4, settings.restoring

    def restore_squares(self, enlarged_B3ss: Tensor, names: Sequence[str], **how: Any) -> list[Restoration]:
        shown_B3ll = unpad(enlarged_B3ss, *(how.get("shown") or (self.size, self.size)))
        return [Restoration(image, 0.0) for image in fix_colors(shown_B3ll, shown_B3ll, how["color_fix"])]


class Toy(Family):
    config = ToyExperiment

    def restorer(self, run: Run, settings: Experiment) -> SquareRestorer:
        return ToyRestorer(settings)


EXPERIMENT = """
family: toy
data: {size: 96, eval_batch_size: 2, test: {demo: {names: [chelsea, coffee], crops: 2}}}
evaluation: {metrics: [psnr, ssim]}
"""
STUDY = """
title: Two ways
question: Does it matter where colours come from?
run: toy/weights
seeds: [0, 1]
metrics: [psnr]
sets: {mine: {photos: photos}}
arms:
  plain: {what: as it is, settings: [restoring.color_fix=none]}
  fixed: {what: colours of the source, settings: [restoring.color_fix=adain]}
claims: ["psnr: plain better than fixed"]
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The family in the table, and a finished run of it in a working directory of its own."""
    monkeypatch.setitem(families.FAMILIES, "toy", ToyExperiment)
    monkeypatch.setitem(table.FAMILIES, "toy", Toy())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "toy").mkdir(parents=True)
    (tmp_path / "experiments" / "toy" / "weights.yaml").write_text(EXPERIMENT)
    (tmp_path / "experiments" / "toy" / "test.yaml").write_text("base: toy/weights\nneeds: {weights: toy/weights}\n")
    run = Run(runs.ROOT / "toy" / "weights" / "version_0")
    run.weights.mkdir(parents=True)
    write_json(run.weights / "config.json", {"kind": "toy", "config": {}, "sha256": {}})
    save(compose("toy/weights"), run.folder / "config.yaml")
    write_json(run.folder / "provenance.json", runs.provenance(0, {}, {}, ["lit-pure", "run"]))
    write_json(run.folder / "summary.json", {"name": "toy/weights", "family": "toy", "base": "", "seed": 0})
    return run


@pytest.fixture
def tested(toy: Run) -> Run:
    """A run that tested it."""
    assert main(["run", "toy/test"]) == 0
    return runs.require("toy/test")


def photo(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(exist_ok=True)
    coarse = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(height))
    write_png(path, torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0])


def test_restore(toy: Run) -> None:
    """A photograph of several squares is what bicubic enlargement of the whole makes of it, but for rounding."""
    photo(Path("a.png"), 40, 30)
    assert main(["restore", "a.png", "--run", "toy/weights", "--color-fix", "none"]) == 0
    wanted = to_bytes(resize(from_bytes(read_bytes(Path("a.png")))[None], 160, 120)[0])
    assert (read_bytes(Path("restored/a.png")).int() - wanted.int()).abs().max() <= 1
    assert sorted(path.name for path in Path("restored").iterdir()) == ["a.json", "a.png"], "no maps, so none is drawn"


def test_the_test_of_a_run(tested: Run) -> None:
    summary = tested.summary()
    assert summary["test/demo/psnr"] == summary["test/demo/bicubic_psnr"] > 15
    assert "test/demo/tokens_per_second" not in summary, "it has none"
    kept = tested.folder / "images" / "demo"
    assert len(list((kept / "restored").iterdir())) == 4 and not (kept / "answers.jsonl").exists()


def test_report_and_gallery(tested: Run, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["report"]) == 0
    assert "toy/test" in capsys.readouterr().out
    assert main(["gallery", "toy/test", "--out", "page"]) == 0
    assert "toy/test/version_0" in next(Path("page").glob("*.html")).read_text(encoding="utf-8")


def test_study_with_two_arms(toy: Run) -> None:
    photo(Path("photos/a.png"), 96, 96)
    photo(Path("photos/b.png"), 96, 128)
    Path("data/studies").mkdir(parents=True)
    Path("data/studies/ways.yaml").write_text(STUDY)
    assert main(["study", "ways", "--out", "pages", "--work", "work", "--workers", "1"]) == 0
    assert len(list(Path("pages/scores").iterdir())) == 2, "nothing is drawn, so one seed is as good as both"
    page = Path("pages/ways.md").read_text(encoding="utf-8")
    assert "PSNR: plain better than fixed" in page and "plain" in page and "fixed" in page
    assert main(["study", "ways", "--out", "pages", "--work", "work", "--workers", "1", "--check"]) == 0


def test_the_comparing_notebook(tested: Run, toy: Run) -> None:
    """What its cells call, one after the other."""
    from lit_pure.notebook import choose, crops, curves, entrants, pairs, scores, searches

    assert main(["run", "toy/test", "seed=1"]) == 0
    chosen = choose.select_runs(["toy/test/version_0", "toy/test/version_1"])
    assert (
        list(choose.overview(chosen)["family"]) == ["toy", "toy"] and "seed" in choose.differing_settings(chosen).index
    )
    methods = entrants.find_entrants(chosen)
    means = scores.means(methods)
    assert "psnr" in str(scores.table(means).to_dict()).lower()
    first, second = entrants.choose_two(methods)
    metric, test_set = entrants.common_metrics(first, second)[0], entrants.common_sets(first, second)[0]
    figures = [
        curves.overlay(chosen, ["train/loss", "val/loss"], smoothing=0.6, log=False),
        searches.overview(chosen),
        scores.dots(methods, means),
        scores.differences(methods, against=second, test_set=test_set),
        pairs.scatter(first, second, metric, test_set),
        pairs.extremes(first, second, metric, count=2, test_set=test_set),
        crops.side_by_side(methods, name=crops.picture_names(methods)[0], box=None, zoom=4),
    ]
    assert all(figure.axes for figure in figures)


def test_bench_restore(toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "restore", "--run", "toy/weights", "--repeat", "1", "--json", "cost.json"]) == 0
    assert "toy/weights/version_0: " in capsys.readouterr().out and '"stages"' in Path("cost.json").read_text()


def test_what_it_does_not_have_is_refused_with_a_remedy(toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.png").touch()
    for command, words in {
        "plan toy/weights --gpu-memory 80": "plan is for the training of a backbone",
        "reconstruct a.png --run toy/weights": "has no tokenizer",
        "convert toy/weights --out out": "has no published layout",
        "score a.png --run toy/weights": "name a run of family dem",
        "run toy/weights": "has no training",
        "restore a.png --run toy/weights --set restoring.tiles=continue": "toy draws none: take blend",
    }.items():
        assert main(command.split()) != 0
        assert words in capsys.readouterr().err
