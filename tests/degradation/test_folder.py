"""Photographs become pairs: the layout, the source of every number, refusals, and interruptions at any point."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.__main__ import main
from lit_pure.config.compose import degradation
from lit_pure.config.data import DataConfig, DegradationConfig, PhotosConfig
from lit_pure.degradation import folder as degrade_folder
from lit_pure.degradation.folder import DegradedPair, Recipe, contact_sheet, degrade_files
from lit_pure.degradation.kernels import Kernel
from lit_pure.degradation.numbers import Degradation, Noise, Resize
from lit_pure.degradation.pairs import plan_pairs
from lit_pure.degradation.pipeline import apply
from lit_pure.files.names import nfc
from lit_pure.images.files import list_images
from lit_pure.images.io import read_image, to_bytes, write_png
from lit_pure.lit.data import DegradeAndScore, PhotoDataModule

KNOBS = degradation("seesr")
PROBE = """
import sys
from lit_pure.__main__ import main
code = main(sys.argv[1:])
assert not {"torch", "lightning", "pandas"} & set(sys.modules), "a refusal imported a heavy package"
sys.exit(code)
"""


def photograph(height: int, width: int, seed: int) -> torch.Tensor:
    """A smooth picture with some texture, (3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    smooth_3HW = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    return (smooth_3HW + 0.1 * torch.rand(3, height, width, generator=generator)).clamp(0, 1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for seed, (name, height, width) in enumerate((("a", 70, 53), ("b", 48, 64), ("c", 50, 49))):
        write_png(tmp_path / "in" / f"{name}.png", photograph(height, width, seed))
    return tmp_path / "in"


def made(photos: Path, out: Path, recipe: Recipe) -> list[DegradedPair]:
    return list(degrade_files(plan_pairs(sorted(photos.iterdir()), recipe.crops), out, recipe))


def content(out: Path) -> dict[str, bytes]:
    """All files by name, hidden ones included."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "degradations.jsonl").read_text().splitlines()]


def read_back(record: dict[str, Any]) -> Degradation:
    """The degradation of a line."""
    kinds: dict[str, Callable[..., Any]] = {"blur": Kernel, "sinc": Kernel, "noise": Noise, "resize": Resize}
    values = {}
    for key, value in record["degradation"].items():
        values[key] = kinds[key.rstrip("12")](**value) if isinstance(value, dict) else value
    return Degradation(**values)


def test_a_pair_is_the_whole_photograph_and_its_numbers_make_it_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert [outcome.error for outcome in made(photos, out, Recipe(KNOBS, seed=4))] == ["", "", ""]
    assert {path.name for path in out.iterdir()} == {"hq", "lq", "degradations.jsonl", "degradation.yaml"}
    lines = records(out)
    assert [(line["image"], line["index"], line["seed"]) for line in lines] == [
        ("a.png", 0, 4),
        ("b.png", 1, 4),
        ("c.png", 2, 4),
    ]
    for line, (height, width) in zip(lines, ((68, 52), (48, 64), (48, 48)), strict=True):
        hq_3HW = read_image(out / "hq" / line["image"])
        assert line["crop"] == [0, 0, height, width] and hq_3HW.shape == (3, height, width)
        assert torch.equal(hq_3HW, read_image(photos / line["source"])[:, :height, :width])
        lq_3hw = read_image(out / "lq" / line["image"])
        assert torch.equal(to_bytes(apply(hq_3HW, read_back(line), 4)), to_bytes(lq_3hw))
    assert len({json.dumps(line["degradation"]) for line in lines}) == 3


def test_degrade_makes_the_squares_of_a_test_set(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "out", Recipe(KNOBS, seed=3, size=32, crops=3))
    config = DataConfig(size=32, degradation=KNOBS, eval_batch_size=2)
    config.test = {"one": PhotosConfig(source=str(photos), crops=3)}
    module = PhotoDataModule(config, 3, DegradeAndScore(KNOBS, None), trains=False)
    names = []
    for batch in module.test_dataloader()[0]:
        batch = module.on_after_batch_transfer(batch, 0)
        for name, hq_3HW, lq_3hw in zip(batch["name"], batch["hq_B3HW"], batch["lq_B3hw"], strict=True):
            names.append(f"{name}.png")
            assert torch.equal(hq_3HW, read_image(tmp_path / "out" / "hq" / names[-1]))
            assert torch.equal(to_bytes(lq_3hw), to_bytes(read_image(tmp_path / "out" / "lq" / names[-1])))
    assert names == [line["image"] for line in records(tmp_path / "out")] and len(names) == 9


def test_resized_squares_are_the_centre_of_the_whole(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "out", Recipe(KNOBS, size=96, fit="resize"))
    for line, (height, width) in zip(records(tmp_path / "out"), ((70, 53), (48, 64), (50, 49)), strict=True):
        top, left, high, wide = line["crop"]
        assert high == pytest.approx(min(height, width), abs=0.5) and wide == pytest.approx(min(height, width), abs=0.5)
        assert top + high / 2 == pytest.approx(height / 2, abs=1) and left + wide / 2 == pytest.approx(width / 2, abs=1)
        hq_3HW = read_image(tmp_path / "out" / "hq" / line["image"])
        box = (left, top, left + wide, top + high)
        cut = Image.open(photos / line["source"]).resize((96, 96), Image.Resampling.BICUBIC, box)
        expected_3HW = torch.from_numpy(np.array(cut)).permute(2, 0, 1) / 255
        lq_3hw = read_image(tmp_path / "out" / "lq" / line["image"])
        assert torch.equal(to_bytes(apply(hq_3HW, read_back(line), 4)), to_bytes(lq_3hw))  # what is written is degraded
        inner = slice(8, -8)  # at its edge Pillow's cut sees what is outside, ours does too, but not in the same place
        assert (hq_3HW - expected_3HW)[:, inner, inner].abs().max() < 3 / 255


@pytest.mark.parametrize("bad", ["broken", "small", "absent"])
def test_degrade_names_bad_photographs_and_degrades_the_others_as_without_them(
    bad: str, photos: Path, tmp_path: Path
) -> None:
    paths = sorted(photos.iterdir())
    list(degrade_files(plan_pairs(paths, 2), tmp_path / "good", Recipe(KNOBS, size=32, crops=2)))
    if bad == "broken":
        paths[1].write_bytes(paths[1].read_bytes()[:600])
    elif bad == "small":
        write_png(paths[1], photograph(31, 80, 0))
    else:
        paths[1].unlink()
    outcomes = list(degrade_files(plan_pairs(paths, 2), tmp_path / "out", Recipe(KNOBS, size=32, crops=2)))
    assert [bool(outcome.error) for outcome in outcomes] == [False, False, True, True, False, False]
    assert str(paths[1]) in outcomes[2].error and (bad != "small" or "31 x 80 px is too small" in outcomes[2].error)
    good, found = content(tmp_path / "good"), content(tmp_path / "out")
    assert set(good) - set(found) == {"hq/b_c0.png", "hq/b_c1.png", "lq/b_c0.png", "lq/b_c1.png"}
    assert all(found[name] == good[name] for name in found if name != "degradations.jsonl")
    assert [line["index"] for line in records(tmp_path / "out")] == [0, 1, 4, 5]


def test_degrade_makes_a_pair_once_its_photograph_is_repaired(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "good", Recipe(KNOBS))
    whole = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(b"")
    made(photos, tmp_path / "out", Recipe(KNOBS))
    (photos / "b.png").write_bytes(whole)
    assert [outcome.skipped for outcome in made(photos, tmp_path / "out", Recipe(KNOBS))] == [True, False, True]
    assert content(tmp_path / "out") == content(tmp_path / "good")


def stop_at(stop: int, half: bool, photos: Path, out: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the process before the write number `stop`, of pictures and lines; or in the middle of it, if of a line."""
    writes = 0

    def stopping(write: Callable[[Path, Any], None]) -> Callable[[Path, Any], None]:
        def counted(path: Path, what: Any) -> None:
            nonlocal writes
            if writes == stop:
                if half and isinstance(what, str):
                    write(path, what[: len(what) // 2])
                raise KeyboardInterrupt
            writes += 1
            write(path, what)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(degrade_folder, "write_png", stopping(write_png))
        patch.setattr(degrade_folder, "append_line", stopping(degrade_folder.append_line))
        with pytest.raises(KeyboardInterrupt):
            made(photos, out, recipe)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("stop", range(9))
def test_degrade_ends_the_same_wherever_it_is_stopped(
    stop: int, half: bool, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each pair two pictures and a line are written."""
    recipe, out = Recipe(KNOBS, seed=1), tmp_path / "out"
    made(photos, tmp_path / "whole", recipe)
    stop_at(stop, half, photos, out, recipe, monkeypatch)
    assert sum(outcome.skipped for outcome in made(photos, out, recipe)) == stop // 3
    assert content(out) == content(tmp_path / "whole")


def test_degrade_that_was_stopped_twice_makes_no_finished_pair_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = Recipe(KNOBS), tmp_path / "out"
    stop_at(2, True, photos, out, recipe, monkeypatch)  # in the line of the first pair
    stop_at(5, True, photos, out, recipe, monkeypatch)  # in that of the second, with the first done
    assert [outcome.skipped for outcome in made(photos, out, recipe)] == [True, False, False]
    assert [line["index"] for line in records(out)] == [0, 1, 2]


def test_degrade_makes_the_pairs_of_a_replaced_photograph_again(photos: Path, tmp_path: Path) -> None:
    recipe, out = Recipe(KNOBS, size=32, crops=2), tmp_path / "out"
    made(photos, out, recipe)
    (photos / "b.png").write_bytes((photos / "c.png").read_bytes())
    assert [outcome.skipped for outcome in made(photos, out, recipe)] == [True] * 2 + [False] * 2 + [True] * 2
    made(photos, tmp_path / "new", recipe)
    assert content(out) == content(tmp_path / "new")


def test_degrade_keeps_pairs_of_earlier_versions_whose_records_name_no_content(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "out", Recipe(KNOBS))
    file = tmp_path / "out" / "degradations.jsonl"
    old = [{key: value for key, value in one.items() if key not in ("bytes", "crc32")} for one in records(file.parent)]
    file.write_text("".join(json.dumps(one) + "\n" for one in old))
    assert all(outcome.skipped for outcome in made(photos, tmp_path / "out", Recipe(KNOBS)))


def test_degrade_draws_the_same_beside_hidden_files_and_whichever_way_names_are_written(
    photos: Path, tmp_path: Path
) -> None:
    (photos / "b.png").rename(photos / "\u00e9.png")
    list(degrade_files(plan_pairs(list_images(photos), 1), tmp_path / "one", Recipe(KNOBS)))
    (photos / "\u00e9.png").rename(photos / "e\u0301.png")
    (photos / "._a.png").touch()
    list(degrade_files(plan_pairs(list_images(photos), 1), tmp_path / "two", Recipe(KNOBS)))
    one, two = (
        {nfc(name): value for name, value in content(tmp_path / out).items() if name.endswith(".png")}
        for out in ("one", "two")
    )
    assert one == two


def test_degrade_refuses_to_replace_its_photographs(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "out", Recipe(KNOBS))
    before = content(tmp_path / "out")
    for side in ("hq", "lq"):
        assert main(["degrade", str(tmp_path / "out" / side), str(tmp_path / "out")]) == 2
    assert content(tmp_path / "out") == before


def test_a_pair_whose_name_is_too_long_is_named_and_the_rest_is_made(photos: Path, tmp_path: Path) -> None:
    (photos / "b.png").rename(photos / f"{'b' * 250}.png")
    outcomes = made(photos, tmp_path / "out", Recipe(KNOBS, size=32, crops=2))
    assert [bool(outcome.error) for outcome in outcomes] == [False] * 2 + [True] * 2 + [False] * 2
    assert "too long" in outcomes[2].error and len(records(tmp_path / "out")) == 4


def test_degrade_makes_a_removed_picture_again(photos: Path, tmp_path: Path) -> None:
    made(photos, tmp_path / "out", Recipe(KNOBS))
    before = content(tmp_path / "out")
    (tmp_path / "out" / "lq" / "b.png").unlink()
    assert [outcome.skipped for outcome in made(photos, tmp_path / "out", Recipe(KNOBS))] == [True, False, True]
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(KNOBS, seed=1), "made with seed 0, not 1; choose another folder"),
        (Recipe(degradation("bicubic")), "made with preset seesr, not bicubic"),
        (Recipe(degradation("seesr", ["jpeg_range=[50,90]"])), "made with jpeg_range .60.0, 95.0., not .50.0, 90.0."),
        (Recipe(KNOBS, size=32), "made with size None, not 32"),
    ],
)
def test_degrade_refuses_other_settings_in_the_same_folder(
    recipe: Recipe, words: str, photos: Path, tmp_path: Path
) -> None:
    made(photos, tmp_path / "out", Recipe(KNOBS))
    before = content(tmp_path / "out")
    with pytest.raises(ValueError, match=words):
        made(photos, tmp_path / "out", recipe)
    assert content(tmp_path / "out") == before


def test_folders_made_before_a_knob_are_continued_while_it_has_its_default() -> None:
    made = Recipe(DegradationConfig()).record()["degradation"]
    assert "strength" not in made and made["jpeg_prob"] == 1.0
    assert Recipe(DegradationConfig(strength=(0.2, 1.0))).record()["degradation"]["strength"] == (0.2, 1.0)


def test_degrade_adds_further_photographs_and_refuses_those_that_shift_its_numbers(
    photos: Path, tmp_path: Path
) -> None:
    made(photos, tmp_path / "out", Recipe(KNOBS))
    write_png(photos / "d.png", photograph(40, 40, 7))
    assert [outcome.skipped for outcome in made(photos, tmp_path / "out", Recipe(KNOBS))] == [True, True, True, False]
    write_png(photos / "aa.png", photograph(40, 40, 8))
    with pytest.raises(ValueError, match=r"b.png was made from a different set of photographs \(number 1, b.png\)"):
        made(photos, tmp_path / "out", Recipe(KNOBS))


def test_degrade_leaves_pictures_that_it_did_not_make(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "hq").mkdir(parents=True)
    (tmp_path / "out" / "hq" / "a.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match="contains pictures without degradation.yaml"):
        made(photos, tmp_path / "out", Recipe(KNOBS))
    assert content(tmp_path / "out") == {"hq/a.png": b"mine"}


@pytest.mark.parametrize("text", ["", "[", "seed: 0\n", "3"])
def test_degrade_names_a_damaged_record_of_settings(text: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "degradation.yaml").write_text(text)
    with pytest.raises(ValueError, match="degradation.yaml: is damaged; choose another"):
        made(photos, tmp_path / "out", Recipe(KNOBS))


def test_pairs_are_named_and_numbered_by_the_sorted_names() -> None:
    paths = [Path("y/b.png"), Path("x/c.png"), Path("y/a.png"), Path("y/a.jpg")]
    pairs = plan_pairs(paths, 1)
    assert [(pair.name, pair.index) for pair in pairs] == [("a.jpg", 0), ("a.png", 1), ("b", 2), ("c", 3)]
    assert plan_pairs(paths[::-1], 1) == pairs
    crops = [(pair.name, pair.index) for pair in plan_pairs(paths[:2], 2)]
    assert crops == [("b_c0", 0), ("b_c1", 1), ("c_c0", 2), ("c_c1", 3)]
    with pytest.raises(ValueError, match="several photographs are named a.png; rename them"):
        plan_pairs([Path("x/a.png"), Path("y/a.png")], 1)


def test_the_sheet_of_pairs_shows_matching_places(tmp_path: Path) -> None:
    """Ten bicubic pairs of different sizes; six are shown, and what is shown of both is the same place."""
    (tmp_path / "in").mkdir()
    for number in range(10):
        write_png(tmp_path / "in" / f"{number}.png", photograph(64 + 9 * number, 90, number))
    made(tmp_path / "in", tmp_path / "out", Recipe(degradation("bicubic")))
    sheet = contact_sheet(tmp_path / "out")
    assert sheet == tmp_path / "out" / "pairs.png"
    sheet_3HW = read_image(sheet)
    assert sheet_3HW.shape == (3, 14 + 6 * 66, 2 * 66)
    pictures_3HW = sheet_3HW[:, 14:]
    blurred = torch.nn.functional.avg_pool2d(pictures_3HW, 9, 1, 4)
    for row in range(6):
        lq_3HW, hq_3HW = (blurred[:, row * 66 + 8 : row * 66 + 56, left + 8 : left + 56] for left in (0, 66))
        assert (lq_3HW - hq_3HW).abs().mean() < 0.01
    last_3HW = read_image(tmp_path / "out" / "hq" / "8.png")  # 136 x 88 px, the middle 64 x 64 of it
    assert torch.equal(pictures_3HW[:, 5 * 66 : 5 * 66 + 64, 66:130], last_3HW[:, 36:100, 12:76])


def test_the_degrade_command_reports_pairs_problems_and_other_settings(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    words = ["degrade", str(photos), str(out), "--preset", "bicubic", "--scale", "2", "--size", "32", "--seed", "5"]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == f"3 of 3 pairs in {out}/hq and /lq; look at {out / 'pairs.png'}"
    assert read_image(out / "lq" / "a.png").shape == (3, 16, 16) and (out / "pairs.png").is_file()
    (photos / "d.png").write_bytes(b"no picture")
    assert main(words) == 1
    told = capsys.readouterr().out
    assert f"{photos / 'd.png'}: not a picture" in told
    assert "3 of 4 pairs" in told and "3 of them from an earlier call" in told
    assert main([*words, "--set", "final_sinc_prob=1"]) == 1
    assert "made with final_sinc_prob 0.0, not 1.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in", "out", "--preset", "sesr"], ["sesr", "did you mean seesr?"]),
        (["in", "out", "--set", "jpeg_rang=[50,90]"], ["no key jpeg_rang", "did you mean jpeg_range?"]),
        (["in", "out", "--set", "jpeg_range=[90,50]"], ["jpeg_range", "[50.0, 90.0]"]),
        (["in", "out", "--size", "30"], ["--size 30", "scale 4", "try 32"]),
        (["in", "out", "--size", "0"], ["--size 0", "try 4"]),
        (["in", "out", "--crops", "2"], ["--crops", "need --size"]),
        (["in", "out", "--size", "32", "--crops", "0"], ["--crops 0"]),
        (["in", "out", "--seed", "-1"], ["--seed", "-1"]),
        (["in", "out", "--scale", "40"], ["scale = 40", "use 16 or less"]),
        (["nowhere", "out"], ["no such file or folder: nowhere"]),
        (["in", "in"], ["both IN and OUT"]),
        (["in", "in/a.png"], ["OUT in/a.png is a file"]),
    ],
)
def test_a_mistake_in_degrade_s_flags_is_refused_without_torch(
    arguments: list[str], words: list[str], photos: Path
) -> None:
    command = [sys.executable, "-c", PROBE, "degrade", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=photos.parent)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr
