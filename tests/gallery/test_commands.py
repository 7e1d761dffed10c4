"""`lit-pure gallery` from end to end, and what it refuses."""

import subprocess
import sys

import pytest
from PIL import Image

import lit_pure.commands.gallery as command
from lit_pure.__main__ import main
from lit_pure.baselines import table
from lit_pure.baselines.table import BASELINES
from lit_pure.gallery.gather import gather
from lit_pure.gallery.records import LABEL_SOURCE
from lit_pure.images.io import image_size
from lit_pure.metrics.rows import ScoreRow, write_rows
from lit_pure.runs.folder import require
from tests.gallery.conftest import HEIGHT, NAMES, WIDTH, make_folder


def test_a_page_is_written(house, capsys):
    folder = make_folder(house / "theirs", "green", NAMES[1:])
    assert main(["gallery", "warm", "cold", "--folder", f"Green={folder}", "--out", "deep/page"]) == 0
    missing, page, test = capsys.readouterr().out.strip().split("\n")
    assert missing == "missing: Green has no picture of demo/cat_0"
    path = house / "deep/page/index.html"
    size = path.stat().st_size / 1e6
    methods = "LQ, bicubic, warm/version_0, cold/version_0, Green, ground truth"
    assert page.startswith(f"deep/page/index.html: 6 pictures of demo, {methods}, {size:.1f} MB (gallery ")
    assert test.startswith("blind test: deep/page/index.html#blind asks for 15 votes")


def test_a_baseline_stands_beside_the_runs(house, capsys):
    if missing := BASELINES["realesr-animevideov3"].missing:
        pytest.skip(f"{missing} not installed")
    call = ["gallery", "warm", "--baseline", "realesr-animevideov3", "--out", "page", "--photos", "2"]
    assert main(call) == 0
    assert "LQ, bicubic, warm/version_0, realesr-animevideov3, ground truth" in capsys.readouterr().out
    kept = sorted((house / "page/baselines/demo/realesr-animevideov3").glob("*.png"))
    assert len(kept) == 2, "of what the page shows"
    assert {image_size(path) for path in kept} == {(HEIGHT, WIDTH)}
    made = [path.stat().st_mtime_ns for path in kept]
    rows = [ScoreRow("hq", "realesr-animevideov3", path.stem, {"psnr": 33.25}) for path in kept]
    write_rows(kept[0].with_name("scores.csv"), rows, ["psnr"])
    assert main(call) == 0
    assert [path.stat().st_mtime_ns for path in kept] == made, "none twice"
    assert main([word.replace("warm", "cold") for word in call]) == 0, "another run's LQ pictures have the same names"
    assert main(call) == 0
    assert "33.25" in (house / "page/index.html").read_text()
    assert main([*call, "--folder", "realesr-animevideov3=page/baselines/demo/realesr-animevideov3"]) == 2
    assert "--folder has this name, too" in capsys.readouterr().err


def test_a_baseline_that_is_not_installed_is_refused_first(house, capsys, monkeypatch):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert main(["gallery", "warm", "--baseline", "realesrgan-x4plus"]) == 2
    assert "needs ncnn and" in capsys.readouterr().err


def test_a_run_of_this_project(built_house, tmp_path, monkeypatch, capsys):
    """Whoever writes a run's pictures, scores and answers, and who reads them here, mean the same files."""
    monkeypatch.chdir(built_house)
    assert main(["gallery", "demo", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "missing" not in out
    label = f"demo/{require('demo').folder.name}"
    assert f"LQ, bicubic, {label}, ground truth" in out
    shot = gather([require("demo")], {}, [], 1, 0).shots[0]
    assert {"psnr", "ssim"} <= shot.scores[label].keys() & shot.scores["bicubic"].keys()
    assert shot.words[0].source == LABEL_SOURCE


def test_a_heavy_page_is_warned_of(house, capsys, monkeypatch):
    monkeypatch.setattr(command, "HEAVY", 0.05)
    assert main(["gallery", "warm", "cold"]) == 0
    size = (house / "gallery/index.html").stat().st_size / 1e6
    warning = capsys.readouterr().out.strip().split("\n")[-1]
    assert warning.startswith(f"warning: browsers are slow above 0.05 MB; --photos {max(1, int(6 * 0.05 / size))} ")


def test_a_damaged_picture_is_named_and_the_exit_code_says_so(house, capsys):
    (house / "runs/cold/version_0/images/demo/restored/cat_1.png").write_bytes(b"")
    assert main(["gallery", "warm", "cold", "--out", "page"]) == 1
    path = "runs/cold/version_0/images/demo/restored/cat_1.png"
    assert f"missing: cold/version_0: left out: {path}" in capsys.readouterr().out
    assert (house / "page/index.html").is_file()


def test_folders_of_a_wider_scene_are_not_judged(house, capsys):
    folder = house / "theirs"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (2 * WIDTH, 2 * HEIGHT)).save(folder / f"{name}.png")
    assert main(["gallery", "warm", "--folder", f"Green={folder}"]) == 1
    out = capsys.readouterr().out
    assert out.count("Green: left out: its picture of demo/") == len(NAMES)
    assert "blind test" not in out


def test_one_is_not_many(house, capsys):
    assert main(["gallery", "warm", "--photos", "1"]) == 0
    out = capsys.readouterr().out
    assert "1 picture of demo" in out
    assert "asks for 1 vote;" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "there is no finished run runs/nobody"),
        (["warm", "--folder", "theirs"], "give NAME=DIR"),
        (["warm", "--folder", "=theirs"], "give NAME=DIR"),
        (["warm", "--folder", "A\x1b[2J=runs"], "the name contains characters that cannot be printed"),
        (["warm", "--folder", "A=nowhere"], "there is no folder nowhere"),
        (["warm", "--folder", "A=runs", "--folder", "A=runs"], "A is already used"),
        (["warm", "--folder", "A=runs"], "--folder A: runs: no pictures in it"),
        (["warm", "--test-set", "real"], "--test-set real: warm/version_0 has no pictures of it"),
        (["warm", "--out", "runs/warm/version_0/summary.json"], "this is a file"),
    ],
)
def test_mistakes_are_refused(house, capsys, words, said):
    assert main(["gallery", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (house / "gallery").exists()


@pytest.mark.parametrize(
    ("flag", "number", "said"),
    [*(("--photos", number, "1 or more") for number in ("0", "-3", "many", "1.5")), ("--seed", "-1", "0 or more")],
)
def test_counts_and_seeds_are_whole_numbers(house, capsys, flag, number, said):
    with pytest.raises(SystemExit) as caught:
        main(["gallery", "warm", flag, number])
    assert caught.value.code == 2
    assert f"give a whole number, {said}" in capsys.readouterr().err


def test_torch_is_not_needed_to_refuse_or_to_count(house):
    code = (
        "import sys; from lit_pure.__main__ import main; "
        "assert main(['gallery', 'warm', '--test-set', 'x']) == 2; assert main(['votes', 'x.json']) == 1; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().split("\n")[-1] == "False"
