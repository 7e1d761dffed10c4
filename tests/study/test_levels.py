"""Levels of a study on made-up scores with known statistics, and a whole study with levels of the toy family."""

import re
from pathlib import Path

import numpy as np
import pytest

from lit_pure.__main__ import main
from lit_pure.config.compose import ConfigError
from lit_pure.images.io import image_size
from lit_pure.runs.folder import Run
from lit_pure.study.claims import Scores
from lit_pure.study.levels import difference, level_results, level_tables
from lit_pure.study.plan import ArmConfig, SetConfig, StudyConfig, plan_of
from lit_pure.study.score_files import Scored
from lit_pure.study.statistics import statistics_of
from tests.families.test_toy import photo, toy  # noqa: F401

STUDY = """
title: Two levels
question: Who falls further?
layout: nsarm-results
run: toy/weights
seeds: [0]
metrics: [psnr]
sets:
  light: &photos {photos: photos, preset: realesrgan_light}
  strong: {<<: *photos, preset: realesrgan_strong}
levels: [light, strong]
poor: [psnr < 20]
arms:
  bicubic: {what: enlarged, method: bicubic}
  plain: {what: as it is, settings: [restoring.color_fix=none]}
"""


def scored(values: np.ndarray) -> dict[str, Scored]:
    return {f"p{at:02}": Scored("0", {"psnr": float(value)}) for at, value in enumerate(values)}


PLAN = StudyConfig(
    metrics=["psnr"],
    sets={name: SetConfig(photos="x") for name in ("mild", "harsh")},
    arms={name: ArmConfig(what=name, method="bicubic") for name in ("a", "b")},
    levels=["mild", "harsh"],
    poor=["psnr < 20"],
)
BASE_N = np.random.default_rng(0).normal(22, 2, 40)
SCORES: Scores = {
    ("a", "mild"): [scored(BASE_N)],
    ("a", "harsh"): [scored(BASE_N - 3)],
    ("b", "mild"): [scored(20 + 2 * (BASE_N - 20))],
    ("b", "harsh"): [scored(BASE_N - 1), scored(BASE_N - 5)],
}


def value(arm: str, level: str, label: str) -> float:
    found = level_results(PLAN, SCORES, "psnr")
    return next(one.value.mean for one in found if (one.arm, one.level, one.statistic.label) == (arm, level, label))


def test_statistics_of_each_arm_at_each_level_are_numpy_s() -> None:
    assert value("a", "mild", "mean") == pytest.approx(BASE_N.mean())
    assert value("a", "harsh", "variance") == pytest.approx(BASE_N.var(ddof=1))
    assert value("b", "mild", "variance") == pytest.approx(4 * BASE_N.var(ddof=1))
    assert value("a", "harsh", "worst tenth") == pytest.approx(np.sort(BASE_N)[:4].mean() - 3)
    assert value("a", "mild", "< 20") == (BASE_N < 20).mean()


def test_seeds_are_averaged_after_the_statistic_not_before() -> None:
    shares = [(BASE_N - 1 < 20).mean(), (BASE_N - 5 < 20).mean()]
    assert value("b", "harsh", "< 20") == pytest.approx(np.mean(shares))
    assert value("b", "harsh", "worst tenth") == pytest.approx(np.sort(BASE_N)[:4].mean() - 3)


def test_differences_are_paired_and_over_common_pictures() -> None:
    mean, variance, *_ = statistics_of("psnr")
    ours, theirs = SCORES["a", "harsh"], SCORES["a", "mild"]
    shifted = difference(ours, theirs, "psnr", mean)
    assert shifted.mean == pytest.approx(-3) and shifted.n == 40
    assert difference(ours, theirs, "psnr", variance).mean == pytest.approx(0, abs=1e-12)
    fewer = [{name: one for name, one in theirs[0].items() if name != "p07"}]
    assert difference(ours, fewer, "psnr", mean).n == 39
    wider = difference(SCORES["b", "mild"], theirs, "psnr", variance)
    assert wider.mean == pytest.approx(3 * BASE_N.var(ddof=1)) and wider.low > 0


def test_tables_have_a_block_per_level_and_leave_out_what_is_not_done() -> None:
    every, arms, levels = level_tables(PLAN, SCORES, "psnr")
    assert [[row.head for row in block] for block in every.blocks] == [
        [("mild", "a"), ("mild", "b")],
        [("harsh", "a"), ("harsh", "b")],
    ]
    assert list(every.columns.items())[3] == ("< 20", "lower")
    assert every.blocks[0][0].cells[3].text.startswith(f"{(BASE_N < 20).sum()} (")
    assert [row.head for row in arms.blocks[0]] == [("mild", "b"), ("harsh", "b")] and "minus `a`" in arms.title
    assert [row.head for row in levels.blocks[0]] == [("a", "harsh"), ("b", "harsh")] and "`mild`" in levels.title
    assert levels.blocks[0][0].cells[0].text.startswith("-3.00"), levels
    partly = {key: one for key, one in SCORES.items() if key == ("a", "mild")}
    assert [table.title for table in level_tables(PLAN, partly, "psnr")] == ["PSNR by level"]
    assert list(level_tables(PLAN, {}, "psnr")) == []


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_study_of_two_arms_on_two_levels(toy: Run) -> None:  # noqa: F811
    for index in range(9):
        photo(Path(f"photos/{index}.png"), 96 + index, 96)
    Path("data/studies").mkdir(parents=True)
    plan = Path("data/studies/levels.yaml")
    plan.write_text(STUDY)
    asked = ["study", "levels", "--workers", "1"]
    assert main([*asked, "--out", "one", "--work", "w1"]) == 0
    page = Path("one/levels.md").read_text(encoding="utf-8")
    assert "## Along the levels" in page and "**light, " not in page, "levels have tables of their own"
    assert len(re.findall(r"^\| (?:light|strong) \| (?:bicubic|plain) \|", page, re.MULTILINE)) == 4 + 2
    assert "PSNR: each arm minus `bicubic`" in page and "73.50/10.16" in page, "the paper's variances"
    assert "preset realesrgan_strong, seed 0" in page
    assert min(image_size(Path("one/levels_levels.png"))) > 200
    assert main([*asked, "--out", "two", "--work", "w2"]) == 0
    assert written(Path("two")) == written(Path("one")), "the same bytes"

    plan.write_text(STUDY.replace("bicubic: {what", "none: {run: toy/none, what: x}\n  bicubic: {what"))
    assert main([*asked, "--out", "one", "--work", "w1", "--arms", "plain"]) == 0
    page = Path("one/levels.md").read_text(encoding="utf-8")
    assert "Not done yet: none (there is no run of toy/none yet)." in page and "minus `none`" not in page


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[light, strong]", "[light, mild]", "levels has no mild; there are light, strong"),
        ("preset: realesrgan_strong", "preset: seesr, size: 96", "light and strong differ in more than their presets"),
        ("psnr < 20", "psnr > 20", "these are the good pictures"),
        ("psnr < 20", "niqe > 8", "'niqe > 8': write METRIC < NUMBER"),
        ("psnr < 20", "psnr below 20", "write METRIC < NUMBER or METRIC > NUMBER, of psnr"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/studies").mkdir(parents=True)
    Path("data/studies/levels.yaml").write_text(STUDY.replace(old, new))
    with pytest.raises(ConfigError, match=re.escape(words)):
        plan_of("levels")
