"""Jobs of a study: what their scores depend on, by what is kept of shipped studies and by settings that are changed."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lit_pure.config.compose import PROJECT
from lit_pure.runs.folder import Run
from lit_pure.study.jobs import StudyJob, _weights_digest, jobs_of
from lit_pure.study.plan import ArmConfig, SetConfig, StudyConfig
from lit_pure.study.sets import Pictures, pictures_of

pytestmark = pytest.mark.shipped
MINE = Pictures("mine", SetConfig(photos="photos"), None, ())


def job(monkeypatch: pytest.MonkeyPatch, settings: Sequence[str] = ()) -> StudyJob:
    """Of one arm with the nano weights as they are shipped."""
    monkeypatch.chdir(PROJECT)
    arm = ArmConfig(what="drawn", settings=tuple(settings))
    plan = StudyConfig(title="t", question="q?", run="pure/nano/shipped", sets={"mine": MINE.config}, arms={"a": arm})
    return next(jobs_of(plan, {"mine": MINE}))


def test_scores_older_than_a_knob_are_those_of_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a new knob would have every study measured again: the scores kept in docs/ know only the old ones."""
    published = job(monkeypatch, ["restoring.wavelet_levels=5"])
    heads = [path.read_text().partition("\n")[0] for path in Path("docs/studies/scores").glob("*.csv")]
    kept = [json.loads(head.removeprefix("# ")) for head in heads]
    keys = min((identity["restoring"].keys() for identity in kept if "restoring" in identity), key=len)
    assert published.identity["restoring"].keys() == keys
    fewer = job(monkeypatch, ["restoring.wavelet_levels=3"])
    assert fewer != published and fewer.identity["restoring"]["wavelet_levels"] == 3


def test_sharpening_is_another_job_though_the_weights_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of the same file of weights; their `config.json` has the knob that no weight knows."""
    digests = []
    for sharpen in (None, 0.0, 2.0):
        folder = tmp_path / str(sharpen) / "weights"
        folder.mkdir(parents=True)
        decoder = {} if sharpen is None else {"sharpen": sharpen}
        content = {"sha256": {"model.safetensors": "0"}, "config": {"decoder": decoder}}
        (folder / "config.json").write_text(json.dumps(content))
        digests.append(_weights_digest(Run(folder.parent)))
    assert digests[0] == digests[1] != digests[2]


def test_pictures_of_a_kept_study_are_still_the_same_set() -> None:
    """Photographs inside scikit-image, degraded in 2026-11: what identified them then stands in the kept scores."""
    shown = pictures_of("shown", SetConfig(photos="skimage", names=["chelsea", "coffee"], size=256, shown=True))
    assert shown.identity["digest"] == "74515e807f77"
    assert (
        f'"digest": "{shown.identity["digest"]}"'
        in (PROJECT / "docs/studies/scores/shown-10884cca2d77.csv").read_text()
    )


def test_settings_that_change_no_picture_change_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert job(monkeypatch, ["restoring.batch=3"]) == job(monkeypatch)
    assert job(monkeypatch, ["restoring.overlap=0.25"]) != job(monkeypatch)


def test_a_set_of_pairs_can_be_a_few_of_two_folders(tmp_path: Path) -> None:
    for side in ("lq", "hq"):
        (tmp_path / side).mkdir()
        for name in "abc":
            (tmp_path / side / f"{name}.png").write_bytes(f"{side} {name}".encode())
    config = SetConfig(lq=str(tmp_path / "lq"), hq=str(tmp_path / "hq"), names=["c", "a"])
    few = pictures_of("few", config)
    assert [pair.name for pair in few.pairs(tmp_path)] == ["a", "c"]
    assert [pair.name for pair in pictures_of("one", config, most=1).pairs(tmp_path)] == ["a"]
    config.names = ["a", "d"]
    with pytest.raises(ValueError, match="lq has no d; correct `names`"):
        pictures_of("few", config)
