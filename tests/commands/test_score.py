"""`lit-pure score`: the estimator's own figures for files and folders, bad files named, wrong runs refused at once."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.config.dem import LEVELS
from lit_pure.degradation.weights import load_dem
from lit_pure.images.io import read_image, write_png
from lit_pure.runs import folder as runs


@pytest.fixture
def photos(house: Path) -> Path:
    """A folder with two photographs, one larger than a tile of 24 px, and a file that is none."""
    folder = house / "photos"
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    write_png(folder / "large.png", torch.rand(3, 70, 90, generator=generator))
    write_png(folder / "small.png", torch.full((3, 20, 31), 0.4))
    (folder / "words.png").write_text("not a picture")
    return folder


def test_score_prints_the_estimator_s_scores(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["score", str(photos), "--run", "dem/nano", "--json", "scores.json"]) == 1, "one file is no picture"
    shown = capsys.readouterr().out
    dem = load_dem(runs.require("dem/nano").weights)
    report = json.loads(Path("scores.json").read_text())
    assert [Path(row["photo"]).name for row in report["photos"]] == ["large.png", "small.png"]
    for row in report["photos"]:
        expected_12 = dem.score(read_image(Path(row["photo"]))[None], 96 // 4)
        assert [row["blur"], row["noise"]] == pytest.approx(expected_12[0].tolist(), abs=1e-5)
        assert (row["blur_level"], row["noise_level"]) == dem.labels(expected_12)[0]
        line = next(line for line in shown.splitlines() if row["photo"] in line)
        blur, noise = f"{row['blur']:.3f}", f"{row['noise']:.3f}"
        assert line.split() == [row["photo"], blur, row["blur_level"], noise, row["noise_level"]]
        assert {row["blur_level"], row["noise_level"]} <= set(LEVELS)
    assert "not scored:" in shown and "words.png: not a picture" in shown and "words.png" in report["not_scored"][0]
    assert main(["score", str(photos / "small.png")]) == 0, "the shipped estimator serves by default"


def test_names_that_the_terminal_lacks_are_escaped_and_the_file_has_them_whole(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["\u5199.png", "caf\udce9.png", "z.png"]
    Path("names").mkdir()
    for name in names:
        write_png(Path("names", name), torch.zeros(3, 16, 16))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr("sys.stdout", terminal)
    assert main(["score", "names", "--json", "names.json"]) == 0
    terminal.seek(0)
    shown = terminal.read()
    assert all(word in shown for word in ("\\u5199.png", "\\udce9.png", "z.png"))
    scored = json.loads(Path("names.json").read_text())["photos"]
    assert {Path(one["photo"]).name for one in scored} == set(names)


def test_score_refuses_missing_runs_and_other_families_before_torch_is_imported(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "photo.png", "--run", "dem/paper"]) == 2
    assert "there is no finished run runs/dem/paper" in capsys.readouterr().err
    assert main(["score", "photo.png", "--run", "tokenizer/nano"]) == 2
    words = capsys.readouterr().err
    assert "is a run of family tokenizer; name a run of family dem" in words and len(words.splitlines()) == 1
    assert main(["score", "photo.png", "--json", "nowhere/scores.json"]) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
    script = (
        "import sys; from lit_pure.__main__ import main; assert main(sys.argv[1:]) == 2 and 'torch' not in sys.modules"
    )
    empty = house / "empty"
    empty.mkdir(exist_ok=True)
    for wrong in (["score", "photo.png", "--run", "tokenizer/nano"], ["score", str(empty)], ["restore", str(empty)]):
        subprocess.run([sys.executable, "-c", script, *wrong], check=True)
    assert main(["score", "absent.png"]) == 2
    assert "no such file or folder: absent.png" in capsys.readouterr().err
