"""Which pictures belong together, and what is said where they do not."""

import json
import shutil

import pytest

from lit_pure.config.compose import ConfigError
from lit_pure.gallery.gather import gather
from lit_pure.runs.folder import Run, require
from tests.gallery.conftest import NAMES, make_folder, make_run


def runs(*names: str) -> list[Run]:
    return [require(name) for name in names]


def test_methods_pictures_figures_and_words(house):
    folder = make_folder(house / "theirs", "green", extension="webp")
    found = gather(runs("warm", "cold"), {"Green": folder}, [], 50, 0)
    assert found.methods == ["LQ", "bicubic", "warm/version_0", "cold/version_0", "Green", "ground truth"]
    assert found.rivals == ["warm/version_0", "cold/version_0", "Green"]
    assert [shot.name for shot in found.shots] == [f"demo/{name}" for name in NAMES]
    assert (found.sets, found.metrics, found.notes) == (["demo"], ["psnr", "niqe"], [])
    shot = found.shots[1]
    assert shot.pictures["Green"] == folder / "cat_1.webp"
    assert shot.pictures["bicubic"] == shot.pictures["LQ"]
    assert shot.pictures["ground truth"].parts[-2:] == ("hq", "cat_1.png")
    assert shot.scores == {
        "warm/version_0": {"psnr": 22.0, "niqe": 4.0},
        "cold/version_0": {"psnr": 21.0, "niqe": 5.0},
        "bicubic": {"psnr": 19.0, "niqe": 9.5},
    }
    sources = [(words.source, words.lines.get("degradation", "")) for words in shot.words]
    assert sources[0] == ("labels (DEM) and caption (source)", "Medium blur, large noise.")
    assert sources[1:] == [(f"{name}/version_0", "Small blur, large noise.") for name in ("warm", "cold")]
    assert shot.words[0].lines["caption"] == "Part 1 of a photograph."


def test_figures_of_a_folder_that_evaluate_scored(house):
    from lit_pure.metrics.rows import ScoreRow, write_rows

    folder = make_folder(house / "theirs", "green")
    rows = [ScoreRow("hq", method, "cat_0", {"psnr": value}) for method, value in (("other", 1.0), ("theirs", 30.0))]
    write_rows(folder / "scores.csv", rows, ["psnr"])
    shot = gather(runs("warm"), {"Green": folder}, [], 50, 0).shots[0]
    assert shot.scores["Green"] == {"psnr": 30.0}


def test_bicubics_figures_do_not_depend_on_the_order_of_runs(house):
    from lit_pure.metrics.rows import ScoreRow, write_rows

    for name, scores in (("warm", {"psnr": 19.0, "niqe": 9.5}), ("cold", {"psnr": 19.0, "ssim": 0.5})):
        rows = [ScoreRow("demo", "bicubic", "cat_0", scores)]
        write_rows(house / f"runs/{name}/version_0/scores.csv", rows, list(scores))
    for names in (("warm", "cold"), ("cold", "warm")):
        shot = gather(runs(*names), {}, [], 50, 0).shots[0]
        assert shot.scores["bicubic"] == {"psnr": 19.0, "niqe": 9.5, "ssim": 0.5}


def test_photos_are_drawn_by_the_seed(house):
    def drawn(seed: int) -> list[str]:
        return [shot.image for shot in gather(runs("warm"), {}, [], 3, seed).shots]

    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 3
    assert all(drawn(seed) == sorted(drawn(seed)) and len(drawn(seed)) == 3 for seed in range(8))


def test_missing_pictures_are_named_and_come_last(house):
    folder = make_folder(house / "theirs", "green", NAMES[:2])
    everything = gather(runs("warm"), {"Green": folder}, [], 50, 0)
    assert len(everything.shots) == len(NAMES)
    assert everything.notes == ["Green has no picture of demo/cat_2, demo/cup_0, demo/cup_1 and 1 more"]
    complete = gather(runs("warm"), {"Green": folder}, [], 2, 0)
    assert [shot.image for shot in complete.shots] == ["cat_0", "cat_1"]
    assert complete.notes == []


def test_pictures_whose_lq_was_not_kept_come_last(house):
    for image in NAMES[:3]:
        (house / f"runs/warm/version_0/images/demo/lq/{image}.png").unlink()
    found = gather(runs("warm"), {}, [], 3, 0)
    assert [shot.image for shot in found.shots] == list(NAMES[3:])


def test_a_run_without_scores_or_answers(house):
    (house / "runs/warm/version_0/scores.csv").unlink()
    (house / "runs/warm/version_0/images/demo/answers.jsonl").unlink()
    found = gather(runs("warm"), {}, [], 50, 0)
    assert found.notes == ["warm/version_0 has no scores.csv, so no scores"]
    assert found.shots[0].words == []
    assert found.metrics == []


def test_a_tokenizer_reconstructs_and_has_no_lq(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path, "tokenizer", "warm", made="reconstructed")
    shutil.rmtree(run / "images/demo/lq")
    found = gather(runs("tokenizer"), {}, [], 50, 0)
    assert found.methods == ["tokenizer/version_0", "ground truth"]
    assert found.shots[0].scores["tokenizer/version_0"]["psnr"] == 21.0


def test_several_sets(house):
    for name in ("warm", "cold"):
        make_run(house, name, name, NAMES[:2], test_set="real")
    make_run(house, "warm", "warm", NAMES[:2], test_set="extra")
    both = gather(runs("warm", "cold"), {}, [], 50, 0)
    assert both.sets == ["demo", "real"]
    assert both.notes == ["test set extra is left out: not every run has it"]
    assert [shot.name for shot in both.shots][-2:] == ["real/cat_0", "real/cat_1"]
    assert gather(runs("warm", "cold"), {}, ["real"], 50, 0).sets == ["real"]
    make_folder(house / "theirs/demo", "green")
    make_folder(house / "theirs/real", "green", NAMES[:2])
    shots = gather(runs("warm", "cold"), {"Green": house / "theirs"}, [], 50, 0).shots
    assert [shot.pictures["Green"].parts[-2] for shot in shots] == ["demo"] * 6 + ["real"] * 2


def refusal(expected: type[ValueError], *arguments) -> str:
    with pytest.raises(expected) as caught:
        gather(*arguments)
    assert type(caught.value) is expected
    return str(caught.value)


def test_runs_without_a_common_set_are_refused(house):
    make_run(house, "far", "green", test_set="other")
    told = refusal(ConfigError, runs("warm", "far"), {}, [], 50, 0)
    assert told == (
        "these runs share no test set, so there is nothing to compare "
        "(warm/version_0 has demo; far/version_0 has other)"
    )
    assert "--test-set other: warm/version_0 has no" in refusal(ConfigError, runs("warm", "far"), {}, ["other"], 50, 0)


def test_runs_without_a_common_picture_are_refused(house):
    make_run(house, "few", "green", NAMES[:1])
    shutil.rmtree(house / "runs/cold")
    make_run(house, "cold", "cold", NAMES[3:])
    told = refusal(ConfigError, runs("few", "cold"), {}, [], 50, 0)
    assert "no picture exists for all methods" in told
    assert "few/version_0 has demo/cat_0; cold/version_0 has demo/cup_0" in told


@pytest.mark.parametrize("kind", ["lq", "hq"])
def test_runs_tested_on_other_pictures_of_one_name_are_refused(house, kind):
    place = house / f"runs/cold/version_0/images/demo/{kind}"
    shutil.copy(place / "cup_0.png", place / "cat_1.png")
    told = refusal(ValueError, runs("warm", "cold"), {}, [], 50, 0)
    assert f"warm/version_0 and cold/version_0 have different {kind.upper()} pictures of demo/cat_1" in told


def test_the_same_pixels_in_other_bytes_are_the_same(house):
    from PIL import Image

    path = house / "runs/cold/version_0/images/demo/lq/cat_1.png"
    before = path.read_bytes()
    with Image.open(path) as picture:
        picture.load()
        picture.save(path, compress_level=0)
    assert path.read_bytes() != before
    assert len(gather(runs("warm", "cold"), {}, [], 50, 0).shots) == len(NAMES)


def test_folders_that_do_not_fit_are_refused(house):
    strangers = make_folder(house / "strangers", "green", NAMES[:1])
    (strangers / "cat_0.png").rename(strangers / "dog.png")
    told = refusal(ConfigError, runs("warm"), {"Green": strangers}, [], 50, 0)
    assert told == (
        "--folder Green: no picture has the name of a picture of demo (found dog, expected for example cat_0)"
    )
    shutil.copy(strangers / "dog.png", strangers / "dog.bmp")
    assert "have the same name; remove one of them" in refusal(
        ConfigError, runs("warm"), {"Green": strangers}, [], 50, 0
    )
    (house / "empty").mkdir()
    assert "no pictures in it" in refusal(ConfigError, runs("warm"), {"Green": house / "empty"}, [], 50, 0)


def test_one_name_for_two_methods_is_refused(house):
    assert "two methods are named warm/version_0" in refusal(ConfigError, runs("warm", "warm/version_0"), {}, [], 50, 0)
    assert "two methods are named LQ" in refusal(ConfigError, runs("warm"), {"LQ": house}, [], 50, 0)


def test_a_run_of_the_old_layout_is_refused(house):
    images = house / "runs/warm/version_0/images"
    shutil.rmtree(images)
    (images / "demo").mkdir(parents=True)
    assert "has no pictures by method" in refusal(ConfigError, runs("warm"), {}, [], 50, 0)


def test_a_damaged_answer_is_named_with_its_line(house):
    path = house / "runs/warm/version_0/images/demo/answers.jsonl"
    first, *_ = path.read_text(encoding="utf-8").split("\n")
    for damage in (first[:40], "[1]", json.dumps({"caption": "of nothing"})):
        path.write_text(f"{first}\n\n{damage}\n", encoding="utf-8")
        assert f"{path.relative_to(house)}: line 3 is not an answer" in refusal(ValueError, runs("warm"), {}, [], 50, 0)


def test_pictures_of_two_machines_match_however_names_are_written_and_hidden_files_are_none(house):
    for run, name in (("warm", "\u00e9"), ("cold", "e\u0301")):
        images = house / f"runs/{run}/version_0/images/demo"
        for kind in ("restored", "lq", "hq"):
            (images / kind / "cat_0.png").rename(images / kind / f"{name}.png")
            (images / kind / "._cat_1.png").touch()
        for path in (images / "answers.jsonl", house / f"runs/{run}/version_0/scores.csv"):
            path.write_text(path.read_text(encoding="utf-8").replace("cat_0", name), encoding="utf-8")
    shots = gather(runs("warm", "cold"), {}, [], 50, 0).shots
    assert [shot.image for shot in shots] == [*sorted(NAMES)[1:], "\u00e9"]
    assert set(shots[-1].pictures) >= {"warm/version_0", "cold/version_0"} and len(shots[-1].scores) == 3
    assert len(shots[-1].words) == 3
    lq = house / "runs/cold/version_0/images/demo/lq"
    (lq / "e\u0301.png").write_bytes((lq / "cat_1.png").read_bytes())
    assert "different LQ pictures" in refusal(ValueError, runs("warm", "cold"), {}, [], 50, 0)


def test_names_of_photographs_in_sub_folders_find_their_files(house):
    path = house / "runs/warm/version_0/images/demo/answers.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"cat_0"', '"cat/0"'), encoding="utf-8")
    scores = house / "runs/warm/version_0/scores.csv"
    scores.write_text(scores.read_text().replace("cat_0", "cat/0"))
    shot = gather(runs("warm"), {}, [], 50, 0).shots[0]
    assert shot.image == "cat_0"
    assert shot.scores["warm/version_0"]["psnr"] == 21.0
    assert len(shot.words) == 2
