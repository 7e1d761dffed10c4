"""Whole runs through the command line, as a user makes them: demo, ablations, sweep, report, restore, bad files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_pure.__main__ import main
from lit_pure.commands import run
from lit_pure.config.compose import PROJECT, compose, load
from lit_pure.config.pure import PureExperiment
from lit_pure.families.table import restorer_of
from lit_pure.families.tokenizer import Tokenizer
from lit_pure.images.maps import LEGEND
from lit_pure.metrics.rows import read_rows
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from tests.lit.test_board import hparams


def newest(name: str) -> Run:
    run = runs.newest_finished(name)
    assert run is not None
    return run


def photo(path: Path, height: int = 120, width: int = 130, seed: int = 0) -> None:
    """A smooth picture with some texture, which NIQE can score."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    noisy = (picture + random.normal(0, 8, picture.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path)


def bad_folder(folder: Path) -> Path:
    """Good photographs beside a truncated JPEG, a 1-pixel PNG, a text named .png, and a 16-bit grey PNG (good)."""
    folder.mkdir()
    for index in range(2):
        photo(folder / f"good{index}.png", seed=index)
    photo(folder / "truncated.jpg")
    content = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    Image.new("RGB", (1, 1)).save(folder / "onepixel.png")
    (folder / "words.png").write_text("not a picture")
    grey = np.random.default_rng(1).integers(0, 65535, (120, 120), dtype=np.uint16)
    Image.fromarray(grey).save(folder / "grey16.png")
    return folder


def test_run_demo_makes_what_it_needs_and_explains_itself(house: Path) -> None:
    for need in ("tokenizer/nano", "dem/nano"):
        assert (house / "runs" / need / "version_0" / "weights" / "model.safetensors").is_file()
    folder = house / "runs" / "demo" / "version_0"
    assert load(folder / "config.yaml") == compose("demo")
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["needs"] == {"tokenizer": "tokenizer/nano/version_0", "dem": "dem/nano/version_0"}
    assert provenance["command"] == ["lit-pure", *provenance["command"][1:]], "no path of a machine"
    assert provenance["seed"] == 0 and set(provenance["dataset"]) == {"train", "val", "test/demo"}
    names = {path.name for path in folder.iterdir()}
    assert names >= {"checkpoints", "images", "weights", "metrics.csv", "summary.json"}
    assert [found.step for found in checkpoints.complete(folder / checkpoints.FOLDER)] == [4, 6]
    assert len(list((folder / "images" / "demo" / "restored").glob("*.png"))) == 2


def test_the_summary_of_a_run_is_flat_and_has_every_figure(house: Path) -> None:
    summary = newest("demo").summary()
    for metric in ("psnr", "ssim", "niqe"):
        assert np.isfinite([summary[f"test/demo/{metric}"], summary[f"test/demo/bicubic_{metric}"]]).all()
    assert summary["test/demo/bicubic_psnr"] != summary["test/demo/psnr"]
    assert summary["tokens_per_second"] > 0 and summary["steps"] == 6
    assert summary["train/loss_first"] > 0 and summary["train/loss_last"] > 0
    assert 0 < summary["train/data_wait"] < 1 and 0 < summary["train/data_made"] < 1
    assert summary["train/tokens_per_second"] > summary["train/images_per_second"] > 0
    assert "train/mfu" not in summary, "nobody knows what this processor could do"
    assert [key for key, value in summary.items() if isinstance(value, dict)] == ["metrics"]
    assert set(summary["metrics"]) == {"pyiqa", "weights", "protocol", "border", "left_out"}
    assert [*summary["metrics"]["weights"]] == ["niqe"], "the others read nothing"


def test_every_test_picture_has_its_scores_whose_means_are_the_summary(house: Path) -> None:
    for name, methods in (("demo", ["bicubic", "restored"]), ("tokenizer/nano", ["reconstructed"])):
        table, summary = read_rows(newest(name).folder / "scores.csv"), newest(name).summary()
        assert sorted(set(table["method"])) == methods and [*table["image"][:2]] == ["chelsea", "coffee"]
        for method, rows in table.groupby("method"):
            prefix = "bicubic_" if method == "bicubic" else ""
            for key in table.columns[3:]:
                assert summary[f"test/demo/{prefix}{key}"] == pytest.approx(rows[key].mean(), rel=1e-12)


def test_metrics_that_cannot_be_measured_are_refused_before_anything_is_made_or_left_out(
    house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    before = runs.versions("demo")
    for change, words in (
        ("evaluation.metrics=[musiq]", ["musiq_koniq_ckpt", "lit-pure weights metrics", "evaluation.missing=skip"]),
        ("evaluation.protocol=pur", ["no such protocol: pur; did you mean pure?"]),
        ("evaluation.metrics=[psnr,nique]", ["nique"]),
        ("data.size=64", ["niqe needs pictures of 96 px or more"]),
    ):
        assert main(["run", "demo", "evaluation.missing=refuse", change]) == 2
        said = capsys.readouterr().err
        assert all(word in said for word in words) and len(said.splitlines()) == 1, said
    assert runs.versions("demo") == before


def test_a_run_continues_without_the_metrics_that_lack_weights_and_says_so(
    house: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    changes = ["evaluation.protocol=osediff", "evaluation.metrics=[psnr-rgb]", "evaluation.missing=skip"]
    assert main(["run", "ablations/sampling/top1", "base=demo", *changes]) == 0
    made = newest("ablations/sampling/top1")
    assert [*read_rows(made.folder / "scores.csv")][3:] == ["psnr", "ssim", "niqe", "psnr-rgb"]
    identity = made.summary()["metrics"]
    assert identity["protocol"] == "osediff"
    assert [*identity["left_out"]] == ["lpips", "dists", "fid", "musiq", "maniqa-pipal", "clipiqa"]
    assert all(f"{key} is not measured" in caplog.text for key in identity["left_out"])


def test_digests_of_metric_weights_are_taken_once_at_the_start_of_a_run(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def once(keys: list[str]) -> dict[str, object]:
        asked.append(list(keys))
        assert not (house / "runs" / "ablations" / "sampling" / "top1" / "version_0" / "images").exists(), (
            "at the start"
        )
        return {"pyiqa": "x", "weights": {}}

    monkeypatch.setattr("lit_pure.metrics.files.identity", once)
    assert main(["run", "ablations/sampling/top1", "base=demo"]) == 0
    assert newest("ablations/sampling/top1").summary()["metrics"]["pyiqa"] == "x" and len(asked) == 1


def test_a_summary_that_fails_leaves_the_scores(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise ValueError("a disk is gone")

    monkeypatch.setattr("lit_pure.lit.build.summary", fails)
    assert main(["run", "ablations/sampling/top1", "base=demo"]) == 1
    (written,) = (house / "runs" / "ablations" / "sampling" / "top1").glob("version_*/scores.csv")
    assert len(read_rows(written)) == 4


def test_the_test_figures_are_those_of_the_pictures_on_disk(house: Path) -> None:
    """PSNR on luma recomputed from the files by its definition (BT.601 studio range, 255 levels)."""
    summary = newest("demo").summary()
    experiment = compose("demo")
    from lit_pure.datasets.photos import Crops

    crops = Crops(experiment.data.test["demo"], experiment.data.size, 0, training=False)
    weights = np.array([65.481, 128.553, 24.966]) / 255
    found = []
    for index in range(len(crops)):
        item = crops[0, index]
        with Image.open(newest("demo").folder / "images" / "demo" / "restored" / f"{item['name']}.png") as file:
            restored = np.asarray(file).astype(float)
        truth = item["hq_3HW"].permute(1, 2, 0).numpy().astype(float)
        error = (((restored - truth) @ weights) ** 2).mean()
        found.append(10 * np.log10(255**2 / error))
    assert summary["test/demo/psnr"] == pytest.approx(np.mean(found), abs=0.02)


def test_tensorboard_shows_curves_pictures_and_words(house: Path) -> None:
    shown: dict[str, set[str]] = {"scalars": set(), "images": set(), "tensors": set()}
    for path in newest("demo").folder.glob("events*"):
        events = EventAccumulator(str(path)).Reload()
        for kind in shown:
            shown[kind] |= set(events.Tags()[kind])
    assert {"train/loss", "train/loss_text", "train/loss_image", "val/loss", "lr-AdamW"} <= shown["scalars"]
    assert {"val/psnr", "val/ssim", "val/niqe", "train/tokens_per_second", "train/data_wait"} <= shown["scalars"]
    grids = {tag for tag in shown["images"] if tag.endswith("LQ | bicubic | restored | ground truth")}
    assert {tag.split("/")[0] for tag in grids} == {"val", "test_demo"}
    assert any("entropy" in tag for tag in shown["images"])
    assert {"val/answers/text_summary", "test_demo/answers/text_summary", "provenance/text_summary"} <= shown["tensors"]


def test_the_test_keeps_sources_and_answers_beside_what_was_restored(house: Path) -> None:
    folder = newest("demo").folder / "images" / "demo"
    assert {path.name for path in folder.iterdir()} == {"restored", "lq", "hq", "answers.jsonl"}
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["image"] for row in rows] == ["chelsea", "coffee"]
    said = ["image", "answer", "blur", "noise", "caption", "degradation (DEM)", "caption (source)"]
    assert all(list(row) == said and row["caption (source)"] for row in rows)
    for path in (folder / "restored").iterdir():
        for kind, size in {"restored": 96, "hq": 96, "lq": 24}.items():
            with Image.open(folder / kind / path.name) as file:
                assert file.size[0] == size
    tokenizer = newest("tokenizer/nano").folder / "images" / "demo"
    assert {path.name for path in tokenizer.iterdir()} == {"reconstructed", "hq"}


@pytest.mark.parametrize("mode", ["none", "perception", "understanding", "full"])
def test_a_guidance_ablation_changes_prompt_and_answer(house: Path, mode: str) -> None:
    assert main(["run", f"ablations/guidance/{mode}", "base=demo", "trainer.max_steps=2"]) == 0
    made = newest(f"ablations/guidance/{mode}")
    assert made.summary()["steps"] == 2
    assert made.provenance()["needs"]["tokenizer"] == "tokenizer/nano/version_0", "what is finished is reused"
    restorer = restorer_of(made)
    from lit_pure.families.pure.sequence.assemble import Sample

    codes = torch.zeros(12, 12, dtype=torch.long)
    sample = Sample(codes, codes + 1, "large", "small", "A bright picture.")
    ids, labels = restorer.assembler.assemble(sample)
    parsed = restorer.assembler.parse(ids)
    assert (parsed.blur, parsed.noise) == (("large", "small") if mode in ("perception", "full") else (None, None))
    assert parsed.caption == ("A bright picture." if mode in ("understanding", "full") else "")
    prompt = restorer.assembler.vocabulary.decode(ids[labels < 0].tolist())
    assert ("Perceive" in prompt) == (mode in ("perception", "full"))
    assert ("nderstand" in prompt) == (mode in ("understanding", "full"))
    answer = restorer.restore(torch.rand(1, 3, 24, 24), ["x"])[0]
    assert (answer.words["text"] == "") == (mode == "none")


def test_fresh_weights_depend_on_the_seed_alone(house: Path) -> None:
    from lit_pure.families.pure.build import new_restorer

    needs, made = {"tokenizer": newest("tokenizer/nano")}, []
    for seed, before in ((0, 1), (0, 100), (1, 1)):
        torch.rand(before)
        experiment = compose("demo", [f"seed={seed}"])
        assert isinstance(experiment, PureExperiment)
        made.append(new_restorer(experiment, needs).backbone.blocks[0].ffn.up.weight)
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_training_and_decoding_run_in_bfloat16(house: Path, precision: str) -> None:
    assert main(["run", "demo", f"trainer.precision={precision}", "trainer.max_steps=4"]) == 0
    first, reference = (runs.require(name).summary()["train/loss_first"] for name in ("demo", "demo/version_0"))
    assert first == pytest.approx(reference, rel=0.05)


def test_a_sampling_ablation_trains_nothing(house: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="lit_pure"):
        assert main(["run", "ablations/sampling/top1", "base=demo"]) == 0
    assert "sampling from the weights of demo/version_0" in caplog.text
    made = newest("ablations/sampling/top1")
    assert "steps" not in made.summary() and not made.weights.exists() and not (made.folder / "checkpoints").exists()
    assert made.summary()["test/demo/bicubic_psnr"] == newest("demo").summary()["test/demo/bicubic_psnr"]
    assert restorer_of(made).sampling.k == 1
    experiment = made.experiment()
    assert isinstance(experiment, PureExperiment) and experiment.needs.weights == "demo"


def test_missing_weights_are_refused_with_the_command(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "ablations/sampling/dynamic"]) == 2
    assert "make exp NAME=pure/nano" in capsys.readouterr().err
    assert main(["restore", "photo.png", "--run", "nowhere"]) == 2
    assert "no experiment 'nowhere'" in capsys.readouterr().err


def test_weights_of_another_task_are_refused(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "ablations/sampling/top1", "base=demo", "sequence.guidance_mode=none"]) == 1
    assert "sequence.guidance_mode: full -> none" in capsys.readouterr().err
    assert main(["run", "ablations/sampling/top1", "base=demo", "needs.weights=tokenizer/nano"]) == 1
    assert "tokenizer/nano/version_0" in capsys.readouterr().err
    assert main(["run", "demo", "needs.dem=dem/nan"]) == 2
    assert "did you mean dem/nano?" in capsys.readouterr().err
    (house / "experiments" / "round.yaml").write_text("# x\nbase: demo\nneeds: {tokenizer: round}\n")
    assert main(["run", "round"]) == 2
    assert "circle: round -> round" in capsys.readouterr().err


def test_a_sweep_compares_its_variants(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = 'base: demo\nneeds: {weights: "${base}"}\nsweep:\n  sampling.k_max: [2, 20, 2000]\n'
    (house / "experiments" / "sweeps" / "tiny.yaml").write_text(lines)
    assert main(["sweep", "sweeps/tiny"]) == 0
    table = capsys.readouterr().out
    assert "sweeps/tiny/k_max=2/version_0" in table and "sweeps/tiny/k_max=2000/version_0" in table
    columns, rows = hparams(house / "runs" / "sweeps" / "tiny")
    assert [info.name for info in columns.hparam_infos if info.differs] == ["sampling.k_max"]
    assert {row.name: row.hparams["sampling.k_max"].number_value for row in rows} == {
        f"sweeps/tiny/k_max={k}/version_0": k for k in (2, 20, 2000)
    }
    assert all("test/demo/psnr" in {value.name.tag for value in row.metric_values} for row in rows)


def test_the_report_lists_finished_runs_only(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (house / "runs" / "demo" / "version_7").mkdir()
    assert main(["report"]) == 0
    table = capsys.readouterr().out
    assert "demo/version_0" in table and "version_7" not in table
    assert "psnr↑" in table and f"{newest('demo').summary()['test/demo/psnr']:.2f}" in table


def test_restore_finishes_the_good_ones_and_names_the_bad_ones(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = bad_folder(tmp_path / "photos"), tmp_path / "out"
    command = ["restore", str(folder), "--run", "demo", "--scale", "1", "--out", str(out)]
    assert main(command) == 1
    said = capsys.readouterr().out
    for bad in ("truncated.jpg", "onepixel.png", "words.png"):
        assert bad in said
    assert "3 of 6 restored" in said
    for good in ("good0", "good1", "grey16"):
        assert {path.name for path in out.glob(f"{good}*")} == {f"{good}.png", f"{good}_entropy.png", f"{good}.json"}
        with Image.open(out / f"{good}.png") as picture, Image.open(out / f"{good}_entropy.png") as entropy:
            width, height = (120, 120) if good == "grey16" else (130, 120)
            assert picture.size == (width, height) and entropy.size == (width + LEGEND, height)
    words = json.loads((out / "good0.json").read_text())
    assert set(words) >= {"text", "blur", "noise", "caption"} and len(words["tiles"]) == 4
    assert words["made"]["with"]["restoring"]["color_fix"] == "wavelet", "people look at photographs"
    assert main(command) == 1
    assert "3 of 6 restored" in (said := capsys.readouterr().out) and said.count("already restored") == 3
    alone = ["restore", str(folder / "good0.png"), "--run", "demo", "--scale", "1", "--out", str(tmp_path / "again")]
    assert main(alone) == 0
    assert (tmp_path / "again" / "good0.png").read_bytes() == (out / "good0.png").read_bytes(), "as in the folder"


def test_restore_takes_scale_colours_batch_and_settings(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "a.png", 30, 40)
    command = ["restore", str(tmp_path / "a.png"), "--run", "demo", "--out", str(tmp_path / "out")]
    changes = ["--color-fix", "adain", "--batch", "2", "--set", "sampling.k_max=7", "restoring.overlap=0.25"]
    for more, size, fix in (([], (160, 120), "wavelet"), ([*changes, "--scale", "3"], (120, 90), "adain")):
        assert main([*command, *more]) == 0
        with Image.open(tmp_path / "out" / "a.png") as picture:
            assert picture.size == size
        used = json.loads((tmp_path / "out" / "a.json").read_text())["made"]["with"]
        assert used["restoring"]["color_fix"] == fix and used["run"].startswith("demo/version_0")
    assert used["sampling"]["k_max"] == 7 and used["restoring"]["overlap"] == 0.25 and used["scale"] == 3
    assert "already" not in capsys.readouterr().out
    assert main([*command, *changes, "--scale", "3"]) == 0
    assert "already restored" in capsys.readouterr().out
    assert main([*command, *changes, "--scale", "3", "--again"]) == 0
    assert "already restored" not in capsys.readouterr().out
    assert main([*command[:-1], str(tmp_path / "a.png" / "out")]) == 1
    said = capsys.readouterr().err
    assert "--out" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--scale", "0"], ["'0'", "from 1 to 16"]),
        (["--scale", "-2"], ["'-2'", "from 1 to 16"]),
        (["--scale", "2.5"], ["'2.5'", "from 1 to 16"]),
        (["--scale", "1000000"], ["'1000000'", "from 1 to 16"]),
        (["--color-fix", "blue"], ["blue", "wavelet"]),
        (["--batch", "0"], ["restoring.batch", "use 1 or more"]),
        (["--set", "sampling.guidnce=1"], ["sampling.guidnce", "did you mean sampling.guidance?"]),
        (["--set", "sampling.k_max"], ["key=value"]),
        (["--set", "backbone.width=64"], ["backbone.width: ", "-> 64", "only sampling and restoring can be changed"]),
        (["--run", "tokenizer/nano"], ["family tokenizer", "name a pure one"]),
    ],
)
def test_restore_refuses_at_once_without_torch(house: Path, flags: list[str], words: list[str]) -> None:
    code = (
        "import sys; from lit_pure.__main__ import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "restore", "absent.png", "--run", "demo", *flags]
    project = str(PROJECT)
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": project})
    assert done.returncode == 2, done.stderr
    assert all(word in done.stderr for word in words) and "Traceback" not in done.stderr


def test_training_skips_what_it_cannot_use_and_names_it(house: Path, tmp_path: Path) -> None:
    folder = bad_folder(tmp_path / "photos")
    changes = [f"data.train.source={folder}", "data.train.names=[]", "trainer.max_steps=4"]
    assert main(["run", "ablations/guidance/none", "base=demo", *changes]) == 0
    summary = newest("ablations/guidance/none").summary()
    skipped = summary["skipped_photos"]
    assert summary["skipped"] == len(skipped) == 3
    assert sorted(Path(line.split(":")[0]).name for line in skipped) == ["onepixel.png", "truncated.jpg", "words.png"]


def test_a_run_on_nothing_usable_is_refused_and_leaves_no_summary(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The trunk of its perceptual loss may be missing, or its photographs, which is said even earlier.
    monkeypatch.setattr(Tokenizer, "check", lambda self, experiment: None)
    monkeypatch.setattr(run, "_check_photographs", lambda experiment: None)
    (tmp_path / "words.png").write_text("not a picture")
    assert main(["run", "demo", f"data.train.source={tmp_path}", "data.train.names=[]"]) == 1
    assert "words.png" in capsys.readouterr().err
    nothing = [f"data.train.source={tmp_path}", "data.train.names=[]", "needs.tokenizer=tokenizer/paper"]
    assert main(["run", "demo", *nothing]) == 1, "before what it needs is made, which takes days"
    assert "words.png" in capsys.readouterr().err
    assert newest("demo").label == "demo/version_0"


def test_damaged_weights_of_a_run_are_named(house: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(house / "runs" / "demo" / "version_0", house / "runs" / "demo" / "version_9")
    path = house / "runs" / "demo" / "version_9" / "weights" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    photo(tmp_path / "a.png")
    assert main(["restore", str(tmp_path / "a.png"), "--run", "demo", "--out", str(tmp_path / "out")]) == 1
    assert "version_9/weights/model.safetensors cannot be read" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "a.png"), "--run", "demo/version_0", "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("name", "captions", "flags"), [("nano", "samples", []), ("tags", "tags", ["--tags", "--words", "768"])]
)
def test_a_shipped_vocabulary_is_made_by_its_command(
    name: str, captions: str, flags: list[str], tmp_path: Path
) -> None:
    project = PROJECT
    made = tmp_path / f"{name}.json"
    assert main(["vocabulary", str(project / f"data/captions/{captions}.jsonl"), *flags, "--out", str(made)]) == 0
    assert made.read_bytes() == (project / f"data/vocabulary/{name}.json").read_bytes()


def test_errors_are_one_line_unless_the_traceback_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["vocabulary", str(tmp_path / "absent.jsonl"), "--out", str(tmp_path / "v.json")]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "absent.jsonl" in said and len(said.splitlines()) == 1
    with pytest.raises(ValueError, match=r"absent\.jsonl"):
        main(["--traceback", *arguments])


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_ends_with_status_130_and_one_line(
    signal: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise signal

    monkeypatch.setattr("lit_pure.commands.run.compose", interrupted)
    assert main(["run", "demo"]) == 130
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("needs.dem=", "needs.dem names no run; guidance mode full needs its labels"),
        ("needs.tokenizer=", "needs.tokenizer names no run"),
        ("vocabulary.path=nowhere.json", "vocabulary.path = nowhere.json: no such file"),
        ("data.val.source=data/bsds500x", "no such folder; get it from https://www2"),
        ("data.test.demo.source=nowhere", "data.test.demo.source = nowhere: no such folder; docs/data.md says where"),
        ("data.test.demo.lq=nowhere data.test.demo.source=", "data.test.demo.lq = nowhere: no such folder"),
    ],
)
def test_a_missing_need_or_vocabulary_of_a_training_is_named_in_one_line(
    house: Path, capsys: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    assert main(["run", "demo", *change.split(" ")]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1


def test_what_lacks_a_base_or_its_photographs_says_what_would_run(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (house / "experiments" / "bare.yaml").write_text("seed: 1\n")
    assert main(["run", "bare"]) == 2
    assert "`base: pure/nano` in the file" in capsys.readouterr().err
    assert main(["run", "ablations/guidance/none", "data.train.source=nowhere"]) == 2
    assert capsys.readouterr().err.endswith("; to try it without a download: base=demo\n")
    assert main(["run", "demo", "data.test.demo.source=data/bsds500x"]) == 2
    assert capsys.readouterr().err.endswith(
        "(docs/data.md has its layout), or name another one: "
        "data.test.demo.source=FOLDER; `lit-pure run demo` needs no download\n"
    )
    (house / "experiments" / "bare.yaml").unlink()


def test_an_estimator_of_another_degradation_is_warned_of(house: Path, caplog: pytest.LogCaptureFixture) -> None:
    from lit_pure.families.pure.build import lq_side

    needs = {"dem": newest("dem/nano")}
    for overrides, warned in (([], False), (["data.degradation.preset=seesr"], True)):
        experiment = compose("demo", overrides)
        assert isinstance(experiment, PureExperiment)
        caplog.clear()
        assert lq_side(experiment, needs) == 96 // 4
        assert ("dem/nano/version_0 was calibrated on another degradation" in caplog.text) == warned
