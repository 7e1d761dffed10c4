"""`lit-pure evaluate` and its functions: published figures, bad files, differences, records, refusals."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.datasets.photos import Crops
from lit_pure.images.geometry import resize
from lit_pure.images.io import from_bytes, read_image, to_bytes, write_png
from lit_pure.metrics import folder as evaluate_folder
from lit_pure.metrics import intervals
from lit_pure.metrics.folder import evaluate
from lit_pure.metrics.rows import read_rows
from lit_pure.metrics.score import Scorer

PROBE = """
import sys
from lit_pure.__main__ import main
code = main(sys.argv[1:])
assert not {"torch", "lightning", "pandas"} & set(sys.modules), "a refusal imported a heavy package"
sys.exit(code)
"""
NAMES = tuple("abcdefgh")


def truth(seed: int, side: int = 24) -> Tensor:
    """A smooth picture with some texture, (3, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    smooth_3HW = torch.nn.functional.interpolate(coarse, side, mode="bicubic")[0]
    return (smooth_3HW + 0.1 * torch.rand(3, side, side, generator=generator)).clamp(0, 1)


def noisy(picture_3HW: Tensor, seed: int, strength: float) -> Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return (picture_3HW + strength * torch.randn(picture_3HW.shape, generator=generator)).clamp(0, 1)


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with truth/, and ours/ which is a little nearer to it than theirs/."""
    monkeypatch.chdir(tmp_path)
    for folder in ("truth", "ours", "theirs"):
        (tmp_path / folder).mkdir()
    for seed, name in enumerate(NAMES):
        picture_3HW = truth(seed)
        write_png(tmp_path / "truth" / f"{name}.png", picture_3HW)
        strength = 0.02 + 0.02 * seed  # pictures differ much more from each other than the methods do
        write_png(tmp_path / "ours" / f"{name}.png", noisy(picture_3HW, seed, strength))
        write_png(tmp_path / "theirs" / f"{name}.png", noisy(picture_3HW, seed, 1.03 * strength))
    return tmp_path


def alone(key: str, pred: Path, target: Path, border: int = 0) -> float:
    """The score of one picture by itself."""
    images = [read_image(path)[None] for path in (pred, target)]
    inner = slice(border, images[0].shape[-1] - border)  # they are square
    return float(Scorer(key).scores(*(image_13HW[..., inner, inner] for image_13HW in images)))


def test_evaluate_writes_each_picture_s_scores_and_prints_their_means(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--pred", "ours", "--target", "truth", "--metrics", "psnr,ssim", "--json", "e.json", "--csv"]
    assert main([*words, "e.csv"]) == 0
    shown = capsys.readouterr().out
    expected = {
        key: [alone(key, Path(f"ours/{n}.png"), Path(f"truth/{n}.png")) for n in NAMES] for key in ("psnr", "ssim")
    }
    table = read_rows(Path("e.csv"))
    assert list(table.columns) == ["test_set", "method", "image", "psnr", "ssim"]
    assert list(table.image) == list(NAMES) and set(table.method) == {"ours"} and set(table.test_set) == {"truth"}
    record = json.loads(Path("e.json").read_text())
    for key, scores in expected.items():
        assert table[key].tolist() == pytest.approx(scores, abs=1e-9)
        bounds = (0.0, 80.0 if key == "psnr" else 1.0)
        mean = intervals.bootstrap_mean(scores, np.random.default_rng(0), bounds=bounds)
        assert record["methods"]["ours"]["metrics"][key] == pytest.approx(vars(mean))
        line = next(line for line in shown.splitlines() if f" {key.upper()} ↑ " in line)
        assert line.split() == [
            "ours",
            key.upper(),
            "↑",
            f"{mean.mean:.4f}",
            f"{mean.low:.4f}",
            "..",
            f"{mean.high:.4f}",
            "8",
        ]
    assert record["command"][:1] == ["lit-pure"] and record["methods"]["ours"]["folder"] == "ours"
    assert record["bootstrap"] == {"method": "studentized", "level": 0.95, "draws": 9999, "seed": 0}
    assert record["target"] == "truth" and record["protocol"] is None and record["differences"] is None
    assert record["pyiqa"] and record["weights"] == {} and record["skipped"] == []


def test_niqe_says_which_numbers_it_read(sets: Path) -> None:
    for name in NAMES[:2]:
        write_png(sets / "ours" / f"{name}.png", truth(1, side=200))
    for name in NAMES[2:]:
        (sets / "ours" / f"{name}.png").unlink()
    found = evaluate(Path("ours"))
    [digests] = found.record()["weights"].values()
    assert found.choice.metrics == ("niqe",) and len(digests["metrics/niqe_pris_params.npz"]) == 64


def test_evaluate_names_bad_files_and_scores_the_rest(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(sets / "ours" / "extra.png", truth(9))
    (sets / "ours" / "a.png").unlink()
    (sets / "ours" / "b.png").write_bytes((sets / "ours" / "b.png").read_bytes()[:500])
    (sets / "truth" / "c.png").write_bytes(b"no picture")
    write_png(sets / "ours" / "d.png", truth(3, side=12))
    for folder in ("ours", "truth"):
        write_png(sets / folder / "e.png", truth(4, side=9))
    words = ["evaluate", "--pred", "ours", "--target", "truth", "--metrics", "psnr,ssim", "--json", "e.json"]
    assert main([*words, "--csv", "e.csv"]) == 1
    shown = capsys.readouterr().out.splitlines()
    for told in (
        "left out: ours/extra.png: no usable picture of this name in truth",
        "left out: truth/a.png: no usable picture of this name in ours",
        "left out: truth/c.png: not a picture in a format that Pillow reads",
        "left out: ours/d.png: is 12 x 12 px, truth/d.png is 24 x 24 px; only pictures of one size can be compared",
        "no ssim: ours/e.png: ssim: pred is 9 x 9 px; the smallest side it scores is 11 px",
    ):
        assert told in shown
    assert any(line.startswith("left out: ours/b.png: ") for line in shown)
    table = read_rows(Path("e.csv"))
    assert list(table.image) == list("efgh") and table.ssim.isna().tolist() == [True, False, False, False]
    record = json.loads(Path("e.json").read_text())
    assert [record["methods"]["ours"]["metrics"][key]["n"] for key in ("psnr", "ssim")] == [4, 3]
    assert record["methods"]["ours"]["metrics"]["ssim"]["low"] is None, "of three pictures there is no interval"
    assert len(record["skipped"]) == 6 and record["skipped"][-1]["metric"] == "ssim"
    assert {one["file"] for one in record["skipped"]} >= {"ours/b.png", "truth/c.png"}


def test_a_flat_picture_lacks_its_niqe_alone(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("ours", "truth"):
        write_png(sets / folder / "a.png", torch.full((3, 100, 100), 0.5))
    assert main(["evaluate", "--pred", "ours", "--target", "truth", "--metrics", "psnr,niqe"]) == 1
    shown = capsys.readouterr().out
    assert "no niqe: ours/a.png: niqe has no finite score for it (one flat colour?)" in shown
    assert "no niqe: ours/b.png: niqe: pred is 24 x 24 px; the smallest side it scores is 96 px" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert [line[-1] for line in lines if "PSNR" in line] == ["8"]
    assert [line[3:] for line in lines if "NIQE" in line] == [["-", "-", "0"]]


def test_a_flat_picture_is_reported_once_in_our_words(sets: Path) -> None:
    write_png(sets / "ours" / "a.png", torch.full((3, 100, 100), 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(Path("ours"), metrics=["niqe"]).problems[0].file == Path("ours/a.png")


def test_of_many_similar_problems_a_few_are_shown(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(25):
        write_png(sets / "truth" / f"more{number:02}.png", truth(0, side=8))
    words = ["evaluate", "--pred", "ours", "--target", "truth", "--metrics", "psnr", "--json", "e.json"]
    assert main(words) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert len(lines) == 11 and lines[9].startswith("left out: truth/more09.png: no usable picture of this name")
    assert lines[10] == "left out: 15 more: no usable picture of this name in ours (--json FILE names them all)"
    assert len(json.loads(Path("e.json").read_text())["skipped"]) == 25


def test_a_difference_is_of_what_both_methods_have(sets: Path) -> None:
    for name in NAMES:
        for folder in ("ours", "theirs"):
            (sets / folder / f"{name}.png").unlink()
    for seed, name in enumerate(NAMES[:6]):
        for folder, flat in (("ours", "a"), ("theirs", "b")):
            picture_3HW = torch.full((3, 200, 200), 0.5) if name == flat else noisy(truth(seed, 200), seed, 0.1)
            write_png(sets / folder / f"{name}.png", picture_3HW)
    found = evaluate(Path("ours"), against=Path("theirs"))
    assert [means["niqe"].n for means in found.means().values()] == [5, 5]
    pair = found.differences()["niqe"]
    assert pair.difference.n == 4 == pair.ties and pair.difference.mean == 0 and pair.p == 1


def test_a_paired_comparison_finds_a_difference_that_means_do_not_show(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--pred", "ours", "--against", "theirs", "--target", "truth", "--metrics", "psnr"]
    assert main([*words, "--json", "e.json", "--csv", "e.csv"]) == 0
    record = json.loads(Path("e.json").read_text())
    ours, theirs = (record["methods"][method]["metrics"]["psnr"] for method in ("ours", "theirs"))
    assert ours["low"] < theirs["mean"] < ours["mean"] < theirs["high"], "by themselves they may be equal"
    pair = record["differences"]["metrics"]["psnr"]
    assert record["differences"]["of"] == "ours minus theirs"
    assert 0 < pair["low"] < pair["mean"] < pair["high"] and pair["mean"] == pytest.approx(
        ours["mean"] - theirs["mean"]
    )
    assert (pair["wins"], pair["losses"], pair["ties"], pair["p"]) == (8, 0, 0, 2 / 2**8)
    shown = capsys.readouterr().out
    assert (
        "ours minus theirs" in shown and "8 : 0" in shown and shown.splitlines()[-4].endswith("0.008  ours is better")
    )
    assert shown.splitlines()[-3].startswith("The last column follows from the interval")
    assert list(read_rows(Path("e.csv")).method) == ["ours"] * 8 + ["theirs"] * 8


def test_a_picture_missing_anywhere_is_missing_everywhere(sets: Path) -> None:
    (sets / "theirs" / "h.png").write_bytes(b"no picture")
    (sets / "theirs" / "g.png").unlink()
    found = evaluate(Path("ours"), Path("truth"), ["psnr"], against=Path("theirs"))
    assert [list(pictures) for pictures in found.scores.values()] == [list("abcdef")] * 2
    assert found.differences()["psnr"].difference.n == 6
    assert {str(one.file) for one in found.problems} == {"ours/g.png", "truth/g.png", "theirs/h.png"}


def test_the_border_of_a_protocol_is_cut_off_both_pictures(sets: Path) -> None:
    (sets / "data" / "protocols").mkdir(parents=True)
    (sets / "data" / "protocols" / "cut.yaml").write_text(
        "title: x\ncolor: Y\nborder: 4\nmetrics: {Fidelity: psnr}\nweights: {}\nnotes: []\n"
    )
    for folder in ("ours", "truth"):
        write_png(sets / folder / "a.png", truth(0, side=8))
    found = evaluate(Path("ours"), Path("truth"), protocol="cut")
    for name in NAMES[1:]:
        expected = alone("psnr", Path(f"ours/{name}.png"), Path(f"truth/{name}.png"), border=4)
        assert found.scores["ours"][name] == {"psnr": pytest.approx(expected, abs=1e-9)}
    [problem] = found.problems
    assert problem.message == "ours/a.png: a border of 4 px leaves nothing of 8 x 8 px"
    assert found.record()["border"] == 4 and found.record()["protocol"] == "cut"


class Colours:
    """Stands for FID's network, whose weights are not here: features are means of colours and of their squares."""

    def __init__(self, key: str) -> None:
        self.key = key

    def to(self, device: torch.device) -> "Colours":
        return self

    def features(self, images_B3HW: Tensor) -> Tensor:
        return torch.cat([images_B3HW.mean((2, 3)), images_B3HW.square().mean((2, 3))], 1).double()


@pytest.fixture
def fid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_folder, "Frechet", Colours)
    monkeypatch.setattr("lit_pure.metrics.files.absent_files", lambda keys: {})
    monkeypatch.setattr("lit_pure.metrics.files.identity", lambda keys: {})


def test_fid_is_a_value_of_the_whole_set(sets: Path, fid: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--pred", "ours", "--against", "theirs", "--target", "truth", "--metrics", "psnr,fid"]
    assert main([*words, "--json", "e.json", "--csv", "e.csv"]) == 0

    def values(folder: str) -> np.ndarray:
        found = [from_bytes(to_bytes(read_image(Path(f"{folder}/{name}.png")))) for name in NAMES]
        return np.stack([Colours("fid").features(one[None])[0].numpy() for one in found])

    from scipy.linalg import sqrtm

    record = json.loads(Path("e.json").read_text())
    for method in ("ours", "theirs"):
        a, b = values(method), values("truth")
        covariances = np.cov(a.T), np.cov(b.T)
        expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(
            covariances[0] + covariances[1] - 2 * np.real(sqrtm(covariances[0] @ covariances[1]))
        )
        one = record["methods"][method]["metrics"]["fid"]
        assert one["mean"] == pytest.approx(expected, rel=1e-3) and one["low"] is None and one["n"] == 8
    assert list(read_rows(Path("e.csv")).columns) == ["test_set", "method", "image", "psnr"]
    assert list(record["differences"]["metrics"]) == ["psnr"]
    shown = capsys.readouterr().out
    assert "one value per set" in shown and "FID ↓" in shown


def test_fid_of_one_picture_is_refused_with_a_reason(sets: Path, fid: None) -> None:
    for name in NAMES[1:]:
        (sets / "ours" / f"{name}.png").unlink()
        (sets / "truth" / f"{name}.png").unlink()
    found = evaluate(Path("ours"), Path("truth"), ["psnr", "fid"])
    assert math.isnan(found.means()["ours"]["fid"].mean) and "at least 2" in found.problems[-1].message


def test_methods_of_folders_with_one_name_can_be_told_apart(sets: Path) -> None:
    for method in ("A", "B"):
        (sets / method).mkdir()
    (sets / "ours").rename(sets / "A" / "results")
    (sets / "theirs").rename(sets / "B" / "results")
    found = evaluate(Path("A/results"), Path("truth"), ["psnr"], against=Path("B/results"))
    assert list(found.methods) == ["A/results", "B/results"] and found.test_set == "truth"
    assert found.means()["A/results"]["psnr"].mean > found.means()["B/results"]["psnr"].mean
    with pytest.raises(ValueError, match="compared with itself"):
        evaluate(Path("truth"), metrics=["niqe"], against=Path("truth"))


def test_evaluate_holds_only_a_few_pictures_in_memory(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly they are scored; and they are read in a thread of their own."""
    read, scored, threads = [0], [0], set()
    real = evaluate_folder.read_bytes

    def counting(path: Path) -> Tensor:
        read[0] += 1
        threads.add(threading.current_thread())
        assert read[0] / 2 - scored[0] <= evaluate_folder.AHEAD + 2
        return real(path)

    def progress() -> None:
        scored[0] += 1
        time.sleep(0.01)

    monkeypatch.setattr(evaluate_folder, "read_bytes", counting)
    found = evaluate(Path("ours"), Path("truth"), ["psnr"], progress=progress)
    assert read[0] == 16 and scored[0] == 8 and not found.problems
    assert len(threads) == 1 and threads != {threading.current_thread()}


def test_evaluate_does_not_score_entropy_maps(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(sets / "ours" / "a_entropy.png", truth(0))
    (sets / "ours" / "a.json").write_text("{}")
    assert main(["evaluate", "--pred", "ours", "--target", "truth", "--metrics", "psnr"]) == 0
    assert "entropy maps of lit-pure restore, ignored: 1" in capsys.readouterr().out


def test_a_metric_without_weights_is_refused_or_marked_as_skipped(
    sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(sets / "hub"))
    words = ["evaluate", "--pred", "ours", "--target", "truth", "--metrics", "psnr,lpips", "--json", "e.json"]
    assert main(words) == 2, "refused before any work"
    told = capsys.readouterr()
    assert "lit-pure weights metrics --metrics lpips" in told.err and told.out == "" and not Path("e.json").exists()
    assert main([*words, "--missing", "skip"]) == 0
    shown = capsys.readouterr().out
    assert ["LPIPS", "↓", "-", "-", "-"] in [line.split() for line in shown.splitlines()]
    assert "not measured: LPIPS: weights are missing; get them: lit-pure weights metrics --metrics lpips" in shown
    assert list(json.loads(Path("e.json").read_text())["left_out"]) == ["lpips"]


def test_a_terminal_without_arrows_shows_the_table_all_the_same(sets: Path) -> None:
    words = ["evaluate", "--pred", "ours", "--target", "truth", "--metrics", "psnr"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "lit_pure", *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and r"PSNR \u2191" in done.stdout, done.stderr


def test_evaluate_that_is_stopped_leaves_nothing_half_written(sets: Path) -> None:
    code = """
import sys, time
from lit_pure.metrics import folder as evaluate_folder
real = evaluate_folder.score_bytes
def slow(*arguments):
    found = real(*arguments)
    print("scored", flush=True)  # all is imported by now
    time.sleep(0.3)
    return found
evaluate_folder.score_bytes = slow
from lit_pure.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    words = [
        "evaluate",
        "--pred",
        "ours",
        "--target",
        "truth",
        "--metrics",
        "psnr",
        "--json",
        "e.json",
        "--csv",
        "e.csv",
    ]
    started = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    for _ in range(2):
        started.stdout.readline()
    started.send_signal(signal.SIGINT)
    _, told = started.communicate(timeout=60)
    assert started.returncode == 130 and "stopped" in told
    assert {path.name for path in sets.iterdir()} == {"truth", "ours", "theirs"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pred", "nowhere"], ["nowhere: no such folder"]),
        (["--pred", "empty"], ["empty: no pictures in it"]),
        (["--pred", "."], ["no pictures in it, but 8 in ours; give that folder"]),
        (["--pred", "ours", "--target", "suffixed"], ["ours: a.png", "suffixed: a_x4.png", "give --ignore-suffix=_x4"]),
        (["--pred", "ours", "--against", "empty"], ["empty: no pictures in it"]),
        (["--pred", "ours", "--against", "../sets/ours"], ["is --pred itself"]),
        (["--pred", "ours", "--metrics", "psnr"], ["psnr: true pictures are needed", "--target"]),
        (["--pred", "ours", "--metrics", "psrn"], ["no such metric: psrn", "did you mean psnr?"]),
        (["--pred", "ours", "--metrics", ","], ["--metrics", "names nothing"]),
        (["--pred", "ours", "--metrics", "NIQE"], ["no such metric: NIQE", "did you mean niqe?"]),
        (["--pred", "ours/a.png"], ["ours/a.png: is a file; name its folder"]),
        (["--pred", "ours", "--csv", "ours/a.png"], ["--csv ours/a.png", ".png is for pictures"]),
        (["--pred", "ours", "--csv", "e.x", "--json", "ours/../e.x"], ["--json and --csv both name e.x"]),
        (["--pred", "ours", "--json", "/dev/null"], ["--json /dev/null", "not a regular file"]),
        (["--pred", "ours", "--protocol", "pur"], ["no such protocol: pur", "did you mean pure?"]),
        (["--pred", "ours", "--level", "95"], ["--level", "'95' is not allowed"]),
        (["--pred", "ours", "--level", "nan"], ["--level", "'nan' is not allowed"]),
        (["--pred", "ours", "--json", "nowhere/e.json"], ["--json nowhere/e.json", "there is no folder nowhere"]),
        (["--pred", "ours", "--csv", "truth"], ["--csv truth", "it is a folder"]),
        (["--target", "truth"], ["--pred"]),
    ],
)
def test_a_mistake_in_evaluate_s_flags_is_refused_without_torch(
    arguments: list[str], words: list[str], sets: Path
) -> None:
    (sets / "empty").mkdir()
    (sets / "suffixed").mkdir()
    for name in NAMES:
        write_png(sets / "suffixed" / f"{name}_x4.png", truth(0))
    arguments = [word.replace("../sets", str(sets)) for word in arguments]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "evaluate", *arguments], capture_output=True, text=True, cwd=sets
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr


PUBLISHED = {"psnr": (25.1511, 5.1e-5), "ssim": (0.7341, 5.1e-5), "niqe": (5.6476, 5e-4)}
"""OSEDiff on RealSR, with the digits of its authors' log, and how far off the mean may be."""


@pytest.mark.parametrize("metrics", ["psnr", pytest.param("psnr,ssim,niqe", marks=pytest.mark.slow)])
def test_evaluate_finds_the_published_figures_of_osediff(
    metrics: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    realsr = shared / "realsr"
    words = ["evaluate", "--pred", str(realsr / "results_osediff"), "--target", str(realsr / "test_HR")]
    assert (
        main([*words, "--metrics", metrics, "--json", str(tmp_path / "e.json"), "--csv", str(tmp_path / "e.csv")]) == 0
    )
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "e.json").read_text())["methods"]["results_osediff"]["metrics"]
    for key in metrics.split(","):
        value, tolerance = PUBLISHED[key]
        assert found[key]["mean"] == pytest.approx(value, abs=tolerance) and found[key]["n"] == 100
        assert f"{found[key]['mean']:.4f}" in shown
    with (tmp_path / "e.csv").open(newline="") as file:
        assert len([*csv.reader(file)]) == 101


def test_a_tenth_of_a_decibel_is_found_between_photographs_that_differ_by_ten(tmp_path: Path) -> None:
    """Bicubic pictures, and the same with a share of the truth in them: errors are as much smaller."""
    share = 0.012
    pred, other, target = (tmp_path / name for name in ("pred", "other", "target"))
    for folder in (pred, other, target):
        folder.mkdir()
    crops = Crops(PhotosConfig(source=SKIMAGE, crops=2), 128, seed=0, training=False)
    for index in range(len(crops)):
        true_3HW = from_bytes(crops[0, index]["hq_3HW"])
        made_3HW = resize(resize(true_3HW[None], 32, 32), 128, 128)[0].clamp(0, 1)
        write_png(target / f"{index}.png", true_3HW)
        write_png(other / f"{index}.png", made_3HW)
        write_png(pred / f"{index}.png", made_3HW + share * (true_3HW - made_3HW))
    found = evaluate(pred, target, ["psnr"], against=other)
    mine, theirs = (found.means()[method]["psnr"] for method in ("pred", "other"))
    assert mine.low < theirs.mean < mine.mean < theirs.high
    pair = found.differences()["psnr"]
    assert pair.difference.mean == pytest.approx(-20 * math.log10(1 - share), abs=0.02), "rounding takes some of it"
    assert 0 < pair.difference.low < pair.difference.mean < pair.difference.high and pair.p < 1e-4
