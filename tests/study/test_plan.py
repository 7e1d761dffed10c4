"""Plans of studies: shipped ones can be read, and mistakes are named."""

from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, experiment_names, is_sweep
from lit_pure.report.layouts import LAYOUTS
from lit_pure.report.published import load
from lit_pure.runs.folder import experiment_of
from lit_pure.study.plan import Claim, plan_of, studies


@pytest.mark.parametrize("name", studies())
def test_a_shipped_plan_names_experiments_and_published_rows_that_exist(name: str) -> None:
    plan = plan_of(name)
    assert plan.title and plan.question and all(arm.what for arm in plan.arms.values())
    for run in {arm.run or plan.run for arm in plan.arms.values() if arm.needs_run}:
        experiment = experiment_of(run)
        assert experiment in experiment_names() or is_sweep(experiment.rpartition("/")[0])
    if plan.layout:
        layout = LAYOUTS[plan.layout]
        rows = {row for lines in load(layout.paper).table(layout.table).sets.values() for row in lines}
        assert {arm.row for arm in plan.arms.values()} - {""} <= rows


def test_the_paper_s_arms_are_in_the_sampling_study() -> None:
    arms = plan_of("sampling").arms
    assert {arm.row for arm in arms.values()} >= {"Top-1", "Top-2000", "Dynamic Top-k"}


GOOD = """
run: pure/nano
sets: {one: {photos: skimage}}
arms: {a: {}, b: {method: bicubic}}
"""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ('claims: ["psnr: a better than c"]', r"there is no than 'c'; there are a, b"),
        ('claims: ["psnr: a beats b"]', r"write METRIC: ARM better than ARM"),
        ("metrics: [sharpness]", r"metrics has no sharpness"),
        ("metrics: [fid]", r"fid compares sets"),
        ("seed: [0]", r"no key seed .* did you mean seeds"),
        ("sets: {two: {lq: here}}", r"sets.two.photos or lq and hq"),
        ("arms: {c: {sets: [three]}}", r"arms.c.sets has no three"),
        ("run: ''", r"arms.a.run is empty"),
        ("arms: {c: {words: given, codes: given}}", r"arms.c.codes = given leaves no words to give"),
        ("arms: {c: {method: real-esrgan}}", r"arms.c.method .*realesrgan-x4plus"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "studies"
    folder.mkdir(parents=True)
    key = changes.partition(":")[0]
    kept = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{key}:"))
    (folder / "mine.yaml").write_text(f"{kept}\n{changes}\n")
    with pytest.raises(ConfigError, match=words):
        plan_of("mine")


def test_an_unknown_study_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no study 'smapling'.*sampling"):
        plan_of("smapling")


def test_claims_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "studies").mkdir(parents=True)
    text = GOOD + 'claims: ["psnr: a better than b", "niqe: b better than a by -1.5 on one"]\n'
    (tmp_path / "data" / "studies" / "mine.yaml").write_text(text)
    assert plan_of("mine").parsed_claims() == [Claim("psnr", "a", "b"), Claim("niqe", "b", "a", -1.5, "one")]
