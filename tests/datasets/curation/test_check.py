"""A folder with every known kind of damage: each file is reported with its kind, and the check always ends."""

import errno
import json
import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_pure.__main__ import main
from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.curation.check import check
from lit_pure.datasets.curation.examine import Examination, examine
from lit_pure.datasets.pairs import find_pairs

SIDE = 64


def picture(seed: int, height: int = SIDE, width: int = SIDE) -> Image.Image:
    """Smooth colours with some noise, other ones for each seed."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray((np.asarray(coarse) // 2 + random.integers(0, 99, (height, width, 3))).astype(np.uint8))


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.jpg", "sub/c.webp", "sub/d e.bmp", "f.tif"]):
        picture(number).save(folder / name)
    picture(9).convert("L").save(folder / "grey.png")
    return folder


def kinds(report) -> dict[str, str]:
    return {Path(finding.file).name: finding.kind for finding in report.problems}


def run(*words) -> int:
    return main(["check-data", "--workers", "2", "--least", str(SIDE), *map(str, words)])


def damage(folder: Path) -> dict[str, str]:
    """Put damaged files beside the good ones; name and kind of each."""
    png, jpg = (folder / "a.png").read_bytes(), (folder / "b.jpg").read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "half.png").write_bytes(png[: len(png) // 2])
    (folder / "half.jpg").write_bytes(jpg[: len(jpg) // 2])
    (folder / "tail.jpg").write_bytes(jpg[:-2])
    (folder / "tail.png").write_bytes(png[:-12])
    zeros = bytearray(png)
    zeros[len(png) // 2 : len(png) // 2 + 512] = bytes(512)
    (folder / "zeros.png").write_bytes(zeros)
    flipped = bytearray(png)
    flipped[-14] ^= 1  # in the checksum of the pixels, which decoding skips
    (folder / "flipped.png").write_bytes(flipped)
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "page.png").write_text("<!DOCTYPE html><html>404</html>")
    (folder / "text.jpg").write_text("no picture")
    Image.fromarray(np.full((SIDE, SIDE), np.nan, dtype=np.float32)).save(folder / "nan.tiff")
    Image.fromarray(np.full((SIDE, SIDE), 70_000, dtype=np.int32)).save(folder / "range.tiff")
    picture(20, SIDE - 1).save(folder / "low.png")
    shutil.copy(folder / "a.png", folder / "z_copy.png")
    picture(0).save(folder / "z_copy.bmp")
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    bomb = png[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    (folder / "bomb.png").write_bytes(bomb)
    return {
        "empty.png": "unreadable",
        "half.png": "cut short",
        "half.jpg": "cut short",
        "tail.jpg": "cut short",
        "tail.png": "cut short",
        "zeros.png": "unreadable",
        "flipped.png": "unreadable",
        "gone.png": "unreadable",
        "page.png": "unreadable",
        "text.jpg": "unreadable",
        "nan.tiff": "unsupported",
        "range.tiff": "unsupported",
        "low.png": "too small",
        "z_copy.png": "duplicate",
        "z_copy.bmp": "duplicate",
        "bomb.png": "huge",
    }


def test_a_clean_folder_has_no_findings(clean, capsys):
    assert run(clean) == 0
    assert "6 pictures read, 0 problems" in capsys.readouterr().out


def test_check_names_every_kind_of_damage(clean, tmp_path, capsys):
    expected = damage(clean)
    (clean / "Thumbs.db").write_bytes(b"x")
    (clean / "._a.png").write_bytes(b"a Mac's shadow of a.png")
    assert run(clean, "--json", tmp_path / "found.json", "--all") == 1
    found = json.loads((tmp_path / "found.json").read_text())
    assert {Path(one["file"]).name: one["kind"] for one in found["problems"]} == expected
    assert found["good"] == 6
    assert sorted(Path(name).name for name in found["not_pictures"]) == ["._a.png", "Thumbs.db"]
    out = capsys.readouterr().out
    assert all(name in out for name in expected)
    reasons = {Path(one["file"]).name: one["reason"] for one in found["problems"]}
    assert "web page" in reasons["page.png"] and "empty" in reasons["empty.png"]
    assert "a.png" in reasons["z_copy.png"] and "a.png" in reasons["z_copy.bmp"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_check_names_a_file_without_permission(clean):
    (clean / "b.jpg").chmod(0)
    report = check(clean, least=SIDE, workers=1)
    assert [(finding.kind, finding.reason) for finding in report.problems] == [("unreadable", "Permission denied")]


def test_suspicious_pictures_are_warnings_and_no_problems(clean):
    Image.new("RGB", (SIDE, SIDE), (7, 7, 9)).save(clean / "flat.png")
    picture(30).save(clean / "other.png", format="JPEG")
    jpeg = bytearray((clean / "b.jpg").read_bytes())
    middle = jpeg.rfind(b"\xff\xda") + 100
    jpeg[middle:middle] = bytes(2048)
    (clean / "hole.jpg").write_bytes(jpeg)
    report = check(clean, least=SIDE, workers=1)
    assert not report.problems
    found = {(Path(finding.file).name, finding.kind) for finding in report.warnings}
    assert found == {("flat.png", "flat"), ("other.png", "extension"), ("hole.jpg", "zeros")}


def test_a_preview_in_the_header_is_no_end(tmp_path):
    """Cameras put a whole small JPEG, often padded with zeros, into the header of the large one."""
    small, large = tmp_path / "small.jpg", tmp_path / "large.jpg"
    picture(1, 16, 16).save(small)
    picture(2).save(large)
    preview = b"Exif\0\0" + small.read_bytes() + bytes(3000)
    whole = large.read_bytes()
    whole = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + whole[2:]
    large.write_bytes(whole)
    assert examine(large).problem == "" and not examine(large).warnings
    large.write_bytes(whole[: len(whole) - 300])
    assert examine(large).problem == "cut short"


def test_a_copy_in_another_format_has_the_same_digest_and_a_turned_one_has_not(tmp_path):
    picture(1, 64, 80).save(tmp_path / "a.png")
    picture(1, 64, 80).save(tmp_path / "b.bmp")
    picture(1, 64, 80).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "c.png")
    a, b, c = (examine(tmp_path / name) for name in ("a.png", "b.bmp", "c.png"))
    assert (a.height, a.width) == (64, 80) and a.pixels == b.pixels != c.pixels


def test_check_names_what_has_no_partner_and_partners_that_do_not_fit(tmp_path):
    hq, lq = tmp_path / "hq", tmp_path / "lq"
    hq.mkdir(), lq.mkdir()
    for number, stem in enumerate(["one", "two", "three", "x2", "odd", "nothing", "damaged"]):
        picture(number).save(hq / f"{stem}.png")
        side = {"x2": 32, "odd": 17}.get(stem, 16)
        if stem != "nothing":
            picture(number, side, side).save(lq / f"{stem}.png")
    picture(99, 16, 16).save(lq / "extra.png")
    (lq / "damaged.png").write_bytes(b"")
    report = check(hq, lq, least=SIDE, workers=2)
    names = {finding.file.removeprefix(f"{tmp_path}/"): finding.kind for finding in report.problems}
    assert names == {
        "hq/x2.png": "misfit",
        "hq/odd.png": "misfit",
        "hq/nothing.png": "unpaired",
        "lq/extra.png": "unpaired",
        "lq/damaged.png": "unreadable",
    }
    assert [path.stem for path in report.good] == ["one", "three", "two"]


def shot(path: Path, seed: int, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, side, side).save(path)


def test_check_pairs_files_as_training_does(tmp_path):
    """By the path below the folder without extension; checked against what training finds."""
    hq, lq = tmp_path / "hq", tmp_path / "lq"
    for number, name in enumerate(["a/1", "b/1"]):
        shot(hq / f"{name}.png", number, SIDE)
        shot(lq / f"{name}.bmp", number, 16)
    shot(hq / "2.png", 2, SIDE)
    shot(lq / "x4" / "2.png", 2, 16)
    report = check(hq, lq, least=SIDE, workers=2)
    assert [path.as_posix() for path in report.good] == ["a/1.png", "b/1.png"]
    found = {finding.file.removeprefix(f"{tmp_path}/"): finding.kind for finding in report.problems}
    assert found == {"hq/2.png": "unpaired", "lq/x4/2.png": "unpaired"}
    trained = find_pairs(PhotosConfig(source=str(hq), lq=str(lq)), SIDE, 4).found
    assert [pair.photo.name for pair in trained] == [path.as_posix() for path in report.good]


@pytest.mark.parametrize("side", ["hq", "lq"])
def test_check_names_both_pictures_of_one_name(side, tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        shot(tmp_path / "hq" / f"{name}.png", seed, SIDE)
        shot(tmp_path / "lq" / f"{name}.png", seed, 16)
    shot(tmp_path / side / "a.bmp", 3, SIDE if side == "hq" else 16)
    report = check(tmp_path / "hq", tmp_path / "lq", least=SIDE, workers=2)
    found = {finding.file.removeprefix(f"{tmp_path}/"): finding.kind for finding in report.problems}
    assert found == {f"{side}/a.png": "unpaired", f"{side}/a.bmp": "unpaired"}
    assert [path.as_posix() for path in report.good] == ["b.png"]


def test_names_that_are_not_utf8_are_listed_and_printed(clean, tmp_path, capsys):
    name, bad = (os.fsdecode(stem + b"\xe9.png") for stem in (b"caf", b"bad"))
    try:
        picture(40).save(clean / name)
        (clean / bad).write_bytes(b"")
    except OSError:
        pytest.skip("this disk takes no such names")
    assert run(clean, "--write-list", tmp_path / "list.txt") == 1
    assert b"caf\xe9.png (64,64,3)\n" in (tmp_path / "list.txt").read_bytes()
    assert "bad\\udce9.png" in capsys.readouterr().out


def test_a_list_that_cannot_be_written_leaves_nothing(clean, tmp_path, monkeypatch):
    def full(path, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "replace", full)
    assert run(clean, "--write-list", tmp_path / "list.txt") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_written_list_holds_the_good_pictures(clean, tmp_path):
    damage(clean)
    assert run(clean, "--write-list", tmp_path / "meta_info.txt") == 1
    lines = (tmp_path / "meta_info.txt").read_text().splitlines()
    matches = [re.fullmatch(r"(.+) \((\d+),(\d+),3\)", line) for line in lines]
    assert [match[1] for match in matches] == ["a.png", "b.jpg", "f.tif", "grey.png", "sub/c.webp", "sub/d e.bmp"]
    assert {(int(match[2]), int(match[3])) for match in matches} == {(SIDE, SIDE)}


def crashing(path: Path) -> Examination:
    """Like `examine`, but some files end the process or raise."""
    if path.stem == "b":
        os.abort()
    if path.stem == "f":
        raise RuntimeError("never seen before")
    return examine(path)


def test_a_decoder_that_crashes_costs_one_file(clean):
    report = check(clean, least=SIDE, workers=2, examine=crashing)
    assert kinds(report) == {"b.jpg": "unreadable", "f.tif": "unreadable"}
    reasons = [finding.reason for finding in report.problems]
    assert "kills the reading process" in reasons[0] and "never seen before" in reasons[1]
    assert len(report.good) == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "nowhere: no such folder"),
        ([".", "--lq", "nowhere"], "--lq nowhere"),
        ([".", "--least", "0"], "--least 0"),
        ([".", "--workers", "0"], "--workers 0"),
        ([".", "--json", "nowhere/x.json"], "--json nowhere/x.json"),
    ],
)
def test_mistakes_in_check_data_s_flags_are_refused_before_anything_is_read(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check-data", *words]) == 2
    assert told in capsys.readouterr().err


def test_check_refuses_a_folder_without_pictures(tmp_path, capsys):
    assert run(tmp_path) == 1
    assert "no pictures" in capsys.readouterr().err
