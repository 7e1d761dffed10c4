"""`bench restore` measures the very restoration that users get, counts every parameter, and says where figures go."""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.bench import restoring
from lit_pure.bench.restoring import Timing, measure, restored, squares
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.table import restorer_of
from lit_pure.images.io import to_bytes, write_png
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

STAGES = ["encode", "text", "codes", "decode", "colors"]


@pytest.fixture
def demo(house: Path) -> Iterator[Run]:
    """The finished demo run; what was measured of it is removed again."""
    run = runs.require("demo")
    yield run
    (run.folder / runs.COMPLEXITY).unlink(missing_ok=True)


@pytest.fixture
def restorer(demo: Run) -> Restorer:
    made = restorer_of(demo)
    made.restoring.color_fix = "wavelet"
    return made


def parameters(folder: Path) -> int:
    """Numbers in a folder's safetensors files, from their heads: the length in 8 bytes, then JSON with every shape."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        for name, tensor in head.items():
            if name != "__metadata__":
                total += torch.Size(tensor["shape"]).numel()
    return total


def test_bench_restore_times_the_restorer_s_own_restoration(restorer: Restorer) -> None:
    lq_3hw = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
    timing, pixels_3ss = restored(restorer, lq_3hw, "a.png")
    assert torch.equal(pixels_3ss, to_bytes(restorer.restore(lq_3hw[None], ["a.png"])[0].image_3HW))
    photo = restorer.restore_photo(lq_3hw, "a.png")
    assert torch.equal(pixels_3ss, photo.pixels_3HW) and timing.tokens == photo.tokens
    assert list(timing.stages) == STAGES and all(seconds > 0 for seconds in timing.stages.values())
    assert timing.passes == (96 // 8) ** 2
    assert not torch.equal(
        restored(restorer, lq_3hw, "b.png")[1], pixels_3ss
    )  # so the name, which decides the noise, is passed on


def test_medians_of_bench_restore_leave_out_the_first_restoration(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    seconds = iter([100.0, 1.0, 8.0, 2.0])

    def fake(restorer: Restorer, lq_3hw: torch.Tensor, name: str, progress: object) -> tuple[Timing, torch.Tensor]:
        seen.append(name)
        one = next(seconds)
        return Timing(
            {"encode": one, "text": one, "codes": 3 * one, "decode": 0.0, "colors": one}, 40, 9, 4 * one
        ), lq_3hw

    monkeypatch.setattr(restoring, "restored", fake)
    told: list[int] = []
    cost = measure(restorer, [("a", torch.zeros(1)), ("b", torch.zeros(1))], 3, lambda name, total: told.append)
    assert seen == ["a", "a", "b", "a"]
    assert (cost.seconds_per_image, cost.seconds_lowest, cost.seconds_highest) == (12, 6, 48)
    assert cost.stages == {"encode": 2, "text": 2, "codes": 6, "decode": 0, "colors": 2}
    assert (cost.tokens, cost.tokens_per_second, cost.passes) == (40, 40 / 8, 9)
    assert (cost.restorations, cost.photos, cost.batch) == (3, 2, 1)
    assert sum(told) == 4 * (3 + 12 * 13 + 1)  # the bar ends where it should: `start h w`, rows with newlines, end


def test_bench_restore_reads_the_clock_when_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: order.append(f"wait for {device}"))
    monkeypatch.setattr(restoring.time, "perf_counter", lambda: order.append("read") or float(len(order) ** 2))
    lap = restoring._Laps(torch.device("cuda"))
    lap("encode")
    lap("text", 5.0)
    lap("codes")
    assert lap.stages == {"encode": 12, "text": 5, "codes": 43}  # read at 4, 16, 36, 64
    assert order == ["wait for cuda", "read"] * 4


def test_bench_restore_measures_times_and_counts_parameters(demo: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "restore", "--repeat", "2"]) == 0
    written = json.loads((demo.folder / runs.COMPLEXITY).read_text())
    tokenizer = runs.require(demo.provenance()["needs"]["tokenizer"])
    parts = {"backbone": parameters(demo.weights), "tokenizer": parameters(tokenizer.weights)}
    assert written["parameters"] == {"total": sum(parts.values()), **parts} and min(parts.values()) > 0
    assert written["seconds_lowest"] <= written["seconds_per_image"] <= written["seconds_highest"]
    assert (written["run"], written["size"], written["scale"], written["batch"]) == ("demo/version_0", 96, 4, 1)
    assert (written["engine"], written["dtype"], written["color_fix"]) == ("plain", "float32", "wavelet")
    assert list(written["stages"]) == STAGES and (written["restorations"], written["photos"]) == (2, 2)
    assert written["torch"] == torch.__version__ and written["device"] and "settings" not in written
    printed = capsys.readouterr().out
    for published in ("256.87", "7080", "0.35", "A100"):  # the paper's table 4
        assert published in printed
    assert "demo/version_0" in printed and "Not timed" in printed


def test_bench_restore_takes_settings_and_photographs(demo: Run, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0)))
    file = tmp_path / "cost.json"
    flags = ["--photos", str(tmp_path), "--repeat", "1", "--json", str(file)]
    settings = ["--set", "sampling.engine=jacobi", "sampling.window=4", "restoring.color_fix=none"]
    assert main(["bench", "restore", *flags, *settings]) == 0
    written = json.loads(file.read_text())
    assert (written["engine"], written["color_fix"], written["photos"]) == ("jacobi", "none", 1)
    assert written["passes"] < (96 // 8) ** 2 and written["settings"] == settings[1:]
    assert not (demo.folder / runs.COMPLEXITY).exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--repeat", "0"], "--repeat 0"),
        (["--threads", "-1"], "--threads -1"),
        (["--photos", "nowhere"], "--photos: nowhere: no such folder"),
        (["--photos", __file__], "is a file; name its folder"),
        (["--photos", "experiments"], "experiments: no pictures in it"),
        (["--json", "nowhere/cost.json"], "nowhere/cost.json cannot be written"),
        (["--set", "data.size=64"], "only sampling and restoring can be changed"),
        (["--set", "sampling.engin=plain"], "did you mean sampling.engine"),
        (["--run", "tokenizer/nano"], "restores nothing"),
        (["--run", "nothing"], "there is no finished run"),
    ],
)
def test_mistakes_in_bench_restore_s_flags_are_refused(
    house: Path, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "restore", *flags]) == 2
    assert words in capsys.readouterr().err


def test_bench_restore_refuses_a_run_folder_that_it_must_not_write_to(
    demo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "SHIPPED_ROOT", tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "shipped").symlink_to(demo.folder.resolve())
    assert main(["bench", "restore", "--run", "demo/shipped"]) == 2
    assert "demo/shipped ships with the project" in (told := capsys.readouterr().err) and "--json FILE" in told
    monkeypatch.setattr(os, "access", lambda path, mode: path != demo.folder)
    assert main(["bench", "restore"]) == 2
    assert "is not writable" in (told := capsys.readouterr().err) and "--json FILE" in told


def test_bench_restore_names_photographs_that_it_cannot_use(
    demo: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "small.png", torch.rand(3, 10, 30))
    assert main(["bench", "restore", "--photos", str(tmp_path)]) == 1
    assert "small.png: smaller than 24 x 24 px" in capsys.readouterr().err


def test_bench_restore_takes_the_middle_of_the_first_photographs(tmp_path: Path) -> None:
    for name, side in (("b", 7), ("a", 5)):
        write_png(tmp_path / f"{name}.png", torch.arange(side**2).view(1, side, side).expand(3, -1, -1).byte())
    [(name, a_3hw), (_, b_3hw)] = squares(str(tmp_path), 3, 5)
    assert name == "a.png" and to_bytes(a_3hw)[0].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
    assert to_bytes(b_3hw)[1].tolist() == [[16, 17, 18], [23, 24, 25], [30, 31, 32]]
    assert len(squares(str(tmp_path), 3, 1)) == 1
    assert len(squares("skimage", 128, 99)) == 9
