"""A study from the command line, on a small model: always the same bytes, and no job runs twice."""

import shutil
from pathlib import Path

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.images.io import from_bytes, read_bytes, write_png
from lit_pure.images.tiles import Tile
from lit_pure.launch.local import Processes
from lit_pure.runs import folder as runs
from lit_pure.study import run_job

PLAN = """
title: A small study
question: Does it work?
layout: table6
run: demo
seeds: [0, 1, 2]
metrics: [psnr, ssim, entropy-edges, entropy-texture]
sets:
  mine: {photos: photos}
  shown: {photos: photos, names: [a], size: 96, shown: true}
arms:
  bicubic: {what: enlarged, method: bicubic}
  top1: {what: likely, row: Top-1, settings: [sampling.top_k=fixed, sampling.k=1], seeds: 1}
  dynamic: {what: drawn, row: Dynamic Top-k}
  given: {what: told, words: given, seeds: 2}
  kept: {what: kept, method: reconstruct, run: tokenizer/nano}
claims: ["psnr: top1 better than dynamic", "psnr: kept better than bicubic by -30"]
findings: [nothing to be learned]
remarks: [one must know this]
"""
JOBS = 5 + 2 + 1 + 5
"""Seed 0 of all arms, the seeds behind it of what chance decides, and what is shown."""


@pytest.fixture
def asked(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three photographs, a plan, and the runs of the house."""
    for name, made in {"runs": house / "runs", "experiments": house / "experiments"}.items():
        (tmp_path / name).symlink_to(made)
    (tmp_path / "photos").mkdir()
    generator = torch.Generator().manual_seed(0)
    for name, width in {"a": 96, "b": 100, "c": 96}.items():  # b takes two squares
        coarse = torch.rand(1, 3, 8, 9, generator=generator)
        write_png(tmp_path / "photos" / f"{name}.png", torch.nn.functional.interpolate(coarse, (96, width))[0])
    (tmp_path / "data" / "studies").mkdir(parents=True)
    (tmp_path / "data" / "studies" / "small.yaml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path) -> dict[str, bytes]:
    """All that a study wrote, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_study_comes_out_the_same_and_does_nothing_twice(
    asked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["study", "small", "--out", "one", "--work", "w1", "--workers", "1"]) == 0
    first, page = written(asked / "one"), (asked / "one" / "small.md").read_text()
    assert f"{JOBS} jobs, 0 of them already done" in capsys.readouterr().out
    assert len([name for name in first if name.startswith("scores/")]) == JOBS
    assert "make study NAME=small" in page and "Not done yet" not in page
    headings = ["What was learned", "Claims", "Pictures", "All scores", "How it was made"]
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == headings
    assert "- nothing to be learned" in page and "- one must know this" in page
    assert "| ours: top1 | mine |" in page and "27.59" in page, "beside the published row"
    assert "![a: LQ, bicubic, top1, dynamic, given, kept, ground truth](small_a.png)" in page
    assert "| PSNR: top1 better than dynamic | mine | " in page
    assert "lit-pure degrade photos OUT --preset realesrgan" in page

    assert main(["study", "small", "--out", "two", "--work", "w2", "--workers", "1", "--seeds", "0"]) == 0
    half = (asked / "two" / "small.md").read_text()
    assert "Not done yet: dynamic, mine, seed 1; given, mine, seed 1; dynamic, mine, seed 2." in half
    assert main(["study", "small", "--out", "two", "--work", "w2", "--workers", "2"]) == 0
    assert written(asked / "two") == first, "in two processes, in two goes"

    monkeypatch.setattr(run_job, "perform", None)
    assert main(["study", "small", "--out", "one", "--work", "w1", "--workers", "1"]) == 0
    assert f"{JOBS} jobs, {JOBS} of them already done" in capsys.readouterr().out
    assert written(asked / "one") == first


def test_a_check_tells_whether_scores_come_out_again(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["study", "small", "--out", "one", "--work", "w1", "--workers", "1", "--arms", "top1,bicubic"]
    assert main([*few, "--check"]) == 1
    assert "one contains none of these jobs" in capsys.readouterr().err
    assert main(few) == 0
    kept = written(asked / "one")
    assert main([*few, "--check"]) == 0
    said = capsys.readouterr().out
    assert "top1, mine, seed 0: 3 of 3 pictures are the same\n" in said
    assert "4 of 4 jobs agree with the stored scores\n" in said
    assert written(asked / "one") == kept, "a check changes nothing"

    file = next(path for path in (asked / "one" / "scores").glob("mine-*.csv") if "bicubic" in path.read_text())
    lines = file.read_text().splitlines(keepends=True)
    _, crc, psnr, rest = lines[3].split(",", 3)
    other = "00000000" if crc != "00000000" else "11111111"
    file.write_text("".join([*lines[:3], f"b,{other},{float(psnr) + 0.25:.5f},{rest}", *lines[4:]]))
    assert main([*few, "--check"]) == 1
    said = capsys.readouterr().out
    assert "bicubic, mine, seed 0: 2 of 3 pictures are the same; scores differ by up to 0.25 psnr\n" in said
    assert "3 of 4 jobs agree with the stored scores; other processors" in said
    assert main([*few, "--check", "--limit", "1"]) == 0, "the first picture is as it was"
    assert "bicubic, mine, seed 0: 1 of 1 pictures are the same\n" in capsys.readouterr().out


def test_a_tokenizer_s_picture_stands_beside_the_truth_alone(asked: Path) -> None:
    alone = ["--arms", "kept", "--sets", "shown", "--workers", "1", "--out", "one", "--work", "w1"]
    assert main(["study", "small", *alone]) == 0
    assert "![a: kept, ground truth](small_a.png)" in (asked / "one" / "small.md").read_text(), "it saw no LQ picture"


def test_runs_that_are_not_there_are_made_first(
    asked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = asked / "data" / "studies" / "small.yaml", "ablations/guidance/full"
    path.write_text(PLAN.replace("given: {what: told,", f"given: {{what: told, run: {new},"))
    made = []

    def run(self: Processes, command: list[str]) -> int:
        made.append(command[-1])
        if len(made) > 1:
            shutil.copytree(runs.require("demo").folder, runs.ROOT / new / "version_0")
        return 0 if len(made) > 1 else 1

    monkeypatch.setattr(Processes, "run", run)
    few = ["study", "small", "--out", "one", "--work", "w1", "--workers", "1", "--seeds", "0"]
    assert main([*few, "--arms", "bicubic"]) == 0 and not made, "only what is asked for"
    assert f"Not done yet: given (there is no run of {new} yet); " in (asked / "one" / "small.md").read_text()
    assert main([*few, "--arms", "given"]) == 1
    assert f"{new} could not be made (exit status 1)" in capsys.readouterr().err
    assert main([*few, "--arms", "given"]) == 0 and made == [new, new]
    assert f"arm `given`: restore of `{new}/version_0`, words given" in (asked / "one" / "small.md").read_text()

    path.write_text(PLAN.replace("run: demo", "run: demo/version_7"))
    assert main([*few, "--arms", "top1"]) == 2
    assert "there is no finished run runs/demo/version_7; make it with: make exp NAME=demo" in capsys.readouterr().err


def test_sets_of_one_name_in_two_studies_do_not_meet(asked: Path) -> None:
    (asked / "data" / "studies" / "other.yaml").write_text(PLAN.replace("names: [a]", "names: [c]"))
    for name in ("small", "other"):
        arms = ["--arms", "bicubic", "--sets", "shown", "--workers", "1", "--out", "one", "--work", "w1"]
        assert main(["study", name, *arms]) == 0
    assert {path.name for path in (asked / "w1" / "sets").glob("shown-*/lq/*.png")} == {"a.png", "c.png"}


def test_what_was_done_of_a_job_stays_when_it_is_stopped(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit_pure.study import workers

    real, seen = run_job.perform, []

    def stopping(job, pairs, shown):
        seen.extend((job.label, pair.name) for pair in pairs)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(job, pairs, shown)

    arguments = [
        "study",
        "small",
        "--out",
        "one",
        "--work",
        "w1",
        "--workers",
        "1",
        "--arms",
        "dynamic",
        "--sets",
        "mine",
    ]
    monkeypatch.setattr(workers, "perform", stopping)
    monkeypatch.setattr(workers, "TOGETHER", 1)
    assert main(arguments) == 130
    assert [name for _, name in seen] == ["a", "b", "c"]
    assert main(arguments) == 0
    assert [name for label, name in seen[3:] if label.endswith("seed 0")] == ["c"], "the first two were not done again"
    assert len(list((asked / "one" / "scores").iterdir())) == 3


def test_a_study_restores_as_the_command_does(asked: Path) -> None:
    arms = ["--arms", "dynamic", "--seeds", "0", "--workers", "1", "--out", "one", "--work", "w1"]
    assert main(["study", "small", *arms]) == 0
    made = next((asked / "w1" / "shown").rglob("a.png"))
    [lq] = (asked / "w1" / "sets").glob("shown-*/lq/a.png")
    assert main(["restore", str(lq), "--run", "demo", "--out", "restored"]) == 0
    assert torch.equal(read_bytes(made), read_bytes(asked / "restored" / "a.png"))


def test_given_words_are_those_of_the_estimator_and_the_true_picture(asked: Path) -> None:
    from lit_pure.families.pure.given_words import given_words
    from lit_pure.families.table import restorer_of

    run = runs.require("demo")
    lq = (torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(1)) * 255).to(torch.uint8)
    hq = lq.repeat_interleave(4, 1).repeat_interleave(4, 2)
    restorer = restorer_of(run)
    made = restorer.restore_photo(from_bytes(lq), "x", 4, given=given_words(run, lq, hq))
    from lit_pure.datasets.captions.describe import describe

    assert made.words["blur"] is not None and made.words["noise"] is not None
    caption = made.words["caption"]
    assert caption and describe(hq).startswith(caption), "cut where the model has no room for more"
    free = restorer.restore_photo(from_bytes(lq), "x", 4)
    assert free.words["text"] != made.words["text"]


def test_given_words_of_a_run_trained_with_tags_are_tags(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit_pure.datasets.captions.describe import describe
    from lit_pure.families.pure import given_words as module

    folder = asked / "tagged"
    shutil.copytree(runs.require("demo").folder, folder)
    settings = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(settings.replace("captions: pixels", "captions: tags"))
    lq, hq = (torch.randint(256, (3, side, side), dtype=torch.uint8) for side in (24, 96))
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(module, "tags", lambda photo_3HW: seen.append(photo_3HW) or "tench")
    words = module.given_words(runs.Run(folder), lq, hq)(Tile(0, 0, 0, 0, 0))
    assert words.caption == f"tench. {describe(hq).partition('. ')[0]}."
    assert len(seen) == 1 and seen[0] is hq, "the whole photograph"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--arms", "top2"], "--arms top2: small has bicubic, top1"),
        (["--sets", "yours"], "--sets yours: small has mine, shown"),
        (["--seeds", "7"], "--seeds 7: small has 0, 1"),
    ],
)
def test_what_a_plan_has_not_is_refused(
    asked: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    assert main(["study", "small", *flags]) == 2
    assert words in capsys.readouterr().err
