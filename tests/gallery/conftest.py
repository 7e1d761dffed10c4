"""Finished runs as a test leaves them, made by hand from small parts of real photographs, and one page of them.

The restored pictures of the run `warm` are reddish and those of `cold` are bluish, so that a test can see on the screen
which of them it looks at.
"""

import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from lit_pure.metrics.rows import ScoreRow, write_rows

WIDTH, HEIGHT, SCALE = 96, 64, 4
NAMES = ("cat_0", "cat_1", "cat_2", "cup_0", "cup_1", "cup_2")
TINTS = {"warm": (255, 40, 40), "cold": (40, 40, 255), "green": (40, 255, 40)}
NASTY = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'> a \"cat\" & 猫 \u2028 --> <!--"
"""What must be shown as it stands."""


@cache
def photograph(name: str) -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 3): a part of a photograph that comes with scikit-image, another one for each name."""
    whole = skimage.data.chelsea() if name.startswith("cat") else skimage.data.coffee()
    top = left = 40 * int(name[-1])
    return whole[60 + top : 60 + top + HEIGHT, 90 + left : 90 + left + WIDTH]


def tinted(name: str, tint: str) -> Image.Image:
    """What a method called by the tint would make of the photograph."""
    return Image.blend(Image.fromarray(photograph(name)), Image.new("RGB", (WIDTH, HEIGHT), TINTS[tint]), 0.6)


def make_run(
    root: Path, name: str, tint: str, images: Sequence[str] = NAMES, test_set: str = "demo", made: str = "restored"
) -> Path:
    """A run folder below `root` with pictures, scores and answers."""
    run = root / "runs" / name / "version_0"
    places = {kind: run / "images" / test_set / kind for kind in (made, "lq", "hq")}
    rows, answers = [], []
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        truth = Image.fromarray(photograph(image))
        truth.save(places["hq"] / f"{image}.png")
        truth.resize((WIDTH // SCALE, HEIGHT // SCALE)).save(places["lq"] / f"{image}.png")
        tinted(image, tint).save(places[made] / f"{image}.png")
        better = tint == "warm"
        rows += [
            ScoreRow(test_set, made, image, {"psnr": 20.0 + number + better, "niqe": 5.0 - better}),
            ScoreRow(test_set, "bicubic", image, {"psnr": 19.0, "niqe": 9.5}),
        ]
        written = {"answer": "Small blur, large noise. A cat", "blur": "small", "noise": "large", "caption": NASTY}
        true = {"degradation (DEM)": "Medium blur, large noise.", "caption (source)": f"Part {number} of a photograph."}
        answers.append({"image": image, **written, **true})
    write_rows(run / "scores.csv", rows, ["psnr", "niqe"])
    lines = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    (run / "images" / test_set / "answers.jsonl").write_text(lines, encoding="utf-8")
    (run / "summary.json").write_text("{}")
    return run


def make_folder(folder: Path, tint: str, images: Sequence[str] = NAMES, extension: str = "png") -> Path:
    """Another method's outputs."""
    folder.mkdir(parents=True)
    for image in images:
        tinted(image, tint).save(folder / f"{image}.{extension}")
    return folder


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished runs `warm` and `cold`, made once."""
    folder = tmp_path_factory.mktemp("two_runs")
    for name in ("warm", "cold"):
        make_run(folder, name, name)
    return folder


@pytest.fixture
def house(two_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with these runs, to be changed at will."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(two_runs / "runs", tmp_path / "runs")
    return tmp_path
