"""Archives in the published layouts, with tiny pictures: each set is complete, and problems are named.

The facts are the real ones with smaller counts and sizes.
"""

import errno
import io
import json
import os
import re
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_pure.__main__ import main
from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.curation import prepare as module
from lit_pure.datasets.curation.archives import members_of
from lit_pure.datasets.curation.prepare import Preparation, with_counts
from lit_pure.datasets.curation.published import SETS, PublishedSet
from lit_pure.datasets.sources import find_photos

LSDIR = {f"{'0001000' if n <= 1000 else '0002000'}/{n:07}.png": n for n in range(1, 7)}
"""What the shards below hold; the real ones hold 84,991."""


def png(seed: int, height: int = 12, width: int = 12) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, format="PNG")
    return written.getvalue()


def tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def packed(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def smaller(name: str, *counts: int, sizes: tuple = (), **changes) -> PublishedSet:
    """The real facts with other counts and sizes."""
    one = SETS[name]
    counts = counts * len(one.parts) if len(counts) == 1 else counts
    sizes = sizes or (None,) * len(one.parts)
    parts = zip(one.parts, counts, sizes, strict=True)
    return replace(one, parts=tuple(replace(part, count=count, size=size, **changes) for part, count, size in parts))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


@pytest.fixture
def training(source: Path) -> PublishedSet:
    """Two shards of three pictures, and FFHQ as a zip of folders with two pictures to take and one beyond 9,999."""
    names = list(LSDIR)
    for shard in range(2):
        files = {f"./{name}": png(LSDIR[name]) for name in names[3 * shard : 3 * shard + 3]}
        tar(source / f"shard-{shard:02}.tar.gz", files)
    faces = {f"ffhq/images1024x1024/{n // 1000 * 1000:05}/{n:05}.png": png(n) for n in (0, 1, 10_000)}
    faces["ffhq/thumbnails128x128/00000/00000.png"] = png(77)
    packed(source / "FFHQ-1024-1.zip", {**faces, "__MACOSX/ffhq/._00000.png": b"x", "LICENSE.txt": b"words"})
    one = smaller("lsdir_ffhq10k", 6, 2, sizes=(None, (12, 12)))
    lsdir, ffhq = one.parts
    return replace(one, parts=(replace(lsdir, archives=lsdir.archives[:2]), ffhq))


def pairs(folder: str, high: int = 16, low: int = 4, count: int = 3) -> dict[str, bytes]:
    """HR and LR as StableSR publishes them."""
    return {
        f"StableSR_testsets/{folder}/test_{side}/Canon_{n:03}.png": png(n, pixels, pixels)
        for side, pixels in (("HR", high), ("LR", low))
        for n in range(count)
    }


def files_of(out: Path) -> list[str]:
    found = [path for path in out.rglob("*") if path.is_file()]
    return sorted(path.relative_to(out).as_posix() for path in found if ".prepare" not in path.parts)


def prepare(one: PublishedSet, source: Path, out: Path, **how) -> Preparation:
    work = Preparation(one, source, out, **how)
    work.run()
    return work


def test_prepare_unpacks_the_training_set_and_lists_it(training, source, tmp_path):
    out = tmp_path / "out"
    prepare(training, source, out)
    lsdir = [f"lsdir/{name}" for name in LSDIR]
    faces = ["ffhq/00000/00000.png", "ffhq/00000/00001.png"]
    assert files_of(out) == sorted([*lsdir, *faces, "meta_info.txt"])
    assert (out / lsdir[4]).read_bytes() == png(5) and (out / faces[0]).read_bytes() == png(0)
    photos = find_photos(PhotosConfig(source=str(out), meta_info=str(out / "meta_info.txt")), 12)
    assert [photo.name for photo in photos.found] == sorted([*lsdir, *faces])
    assert {photo.size for photo in photos.found} == {(12, 12)}


def test_prepare_links_folders_that_are_already_unpacked(training, source, tmp_path):
    for shard in range(2):
        archive = source / f"shard-{shard:02}.tar.gz"
        with tarfile.open(archive) as file:
            file.extractall(source / "train", filter="data")
        archive.unlink()
    prepare(training, source, tmp_path / "out")
    name = next(iter(LSDIR))
    assert os.path.samefile(tmp_path / "out" / "lsdir" / name, source / "train" / name)


@pytest.mark.parametrize(("name", "folder"), [("realsr", "RealSRVal_crop128"), ("drealsr", "DrealSRVal_crop128")])
def test_prepare_unpacks_pairs_of_hq_and_lq(name, folder, source, tmp_path):
    packed(source / "StableSR_testsets.zip", {**pairs("RealSRVal_crop128"), **pairs("DrealSRVal_crop128")})
    one = smaller(name, 3, sizes=((16, 16), (4, 4)))
    prepare(one, source, tmp_path / "out")
    names = [f"Canon_{n:03}.png" for n in range(3)]
    assert files_of(tmp_path / "out") == [f"{side}/{name}" for side in ("hq", "lq") for name in names]
    assert all(folder in placed.origin for placed in prepare(one, source, tmp_path / "again").placed.values())


def test_prepare_finds_the_hundred_real_pairs(shared, tmp_path):
    """RealSR as somebody unpacked it: the real count, the real sizes."""
    (tmp_path / "RealSRVal_crop128").symlink_to(shared / "realsr")
    work = prepare(SETS["realsr"], tmp_path / "RealSRVal_crop128", tmp_path / "out")
    assert prepare(SETS["realsr"], shared / "realsr", tmp_path / "again").number(SETS["realsr"].parts[0]) == 100
    assert [work.number(part) for part in work.published.parts] == [100, 100]


def test_prepare_cuts_both_pictures_of_drealsr_x2_at_the_same_place(source, tmp_path, monkeypatch):
    """LR of odd sizes, and HR that repeats each of its pixels twice: after cutting, it still must."""
    files = {}
    for n, (height, width) in enumerate([(9, 11), (8, 7)]):
        low = np.random.default_rng(n).integers(0, 256, (height, width, 3), dtype=np.uint8)
        for side, pixels in (("LR", low), ("HR", low.repeat(2, 0).repeat(2, 1))):
            written = io.BytesIO()
            Image.fromarray(pixels).save(written, format="PNG")
            files[f"test_{side}/DSC_{n}_x{1 if side == 'LR' else 2}.png"] = written.getvalue()
    packed(source / "Test_x2.zip", files)
    one = SETS["drealsr_x2"]
    high, low = one.parts
    one = replace(
        one,
        parts=(
            replace(high, count=2, size=(8, 8), crop=8),
            replace(low, count=2, size=(4, 4), crop=4),
        ),
    )
    out = tmp_path / "out"
    first = prepare(one, source, out)
    with monkeypatch.context() as patch:
        patch.setattr(module, "crop_centre", None)  # what the record tells is not read again
        again = prepare(one, source, out)
    assert {target: (placed.size, placed.whole) for target, placed in again.placed.items()} == {
        target: (placed.size, placed.whole) for target, placed in first.placed.items()
    }
    assert files_of(out) == ["hq/DSC_0.png", "hq/DSC_1.png", "lq/DSC_0.png", "lq/DSC_1.png"]
    for n in range(2):
        low, high = (np.asarray(Image.open(out / side / f"DSC_{n}.png")) for side in ("lq", "hq"))
        np.testing.assert_array_equal(high, low.repeat(2, 0).repeat(2, 1))
    (source / "Test_x2.zip").unlink()
    packed(source / "Test_x2.zip", {**files, "test_HR/DSC_1_x2.png": png(0, 14, 14)})
    with pytest.raises(ValueError, match=r"test_HR/DSC_1_x2.png: 14 x 14 px is not 2 times 8 x 7"):
        prepare(one, source, tmp_path / "other")


def test_prepare_unpacks_ost_val_and_reallq250(source, tmp_path, capsys):
    photos = {f"OutdoorSceneTest300/OST_{n:03}.png": png(n, 10, 14) for n in range(1, 4)}
    packed(source / "OST300_img.zip", photos)
    packed(source / "OST300_anno.zip", {f"OST300_anno/OST_{n:03}.png": png(n) for n in range(1, 4)})
    packed(source / "RealLQ250.zip", {f"RealLQ250/lq/{n:03}.png": png(n, 5 + n, 9) for n in range(4)})
    prepare(smaller("ost_val", 3), source, tmp_path / "ost")
    assert files_of(tmp_path / "ost") == ["photos/OST_001.png", "photos/OST_002.png", "photos/OST_003.png"]
    prepare(smaller("reallq250", 4), source, tmp_path / "real")
    assert files_of(tmp_path / "real") == [f"lq/{n:03}.png" for n in range(4)]
    assert main(["prepare", "ost_val", str(source), str(tmp_path / "o 2"), "--count", "3"]) == 0
    said = capsys.readouterr().out
    assert f"lit-pure degrade '{tmp_path}/o 2/photos' '{tmp_path}/o 2' --preset seesr --size 512 --fit resize" in said


def test_published_numbers_have_the_published_names():
    """The last shard ends with 0085000/0084991.png, and FFHQ's first ten thousand with 09000/09999.png."""
    from lit_pure.datasets.curation.tally import _numbered_paths

    lsdir, ffhq = (list(_numbered_paths(part)) for part in SETS["lsdir_ffhq10k"].parts)
    assert (lsdir[0], lsdir[1000], lsdir[-1]) == (
        "lsdir/0001000/0000001.png",
        "lsdir/0002000/0001001.png",
        "lsdir/0085000/0084991.png",
    )
    assert "lsdir/0084000/0083571.png" in lsdir  # stands in LSDIR's own list
    assert (ffhq[0], ffhq[-1], len(ffhq)) == ("ffhq/00000/00000.png", "ffhq/09000/09999.png", 10_000)


def refused(one: PublishedSet, source: Path, out: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prepare(one, source, out)


def test_prepare_names_a_missing_picture(training, source, tmp_path):
    names = list(LSDIR)
    tar(source / "shard-01.tar.gz", {name: png(LSDIR[name]) for name in (names[3], names[5])})
    refused(training, source, tmp_path / "out", r"LSDIR: 5 pictures instead of 6; missing: lsdir/0001000/0000005.png;")
    assert not (tmp_path / "out" / "meta_info.txt").exists()
    prepare(with_counts(training, [5, 2]), source, tmp_path / "out")
    assert len((tmp_path / "out" / "meta_info.txt").read_text().splitlines()) == 7


def test_prepare_names_a_missing_archive_before_anything_is_unpacked(training, source, tmp_path):
    (source / "shard-01.tar.gz").unlink()
    refused(training, source, tmp_path / "out", r"LSDIR: .* has no shard-01 \(")
    assert not (tmp_path / "out").exists()


def test_prepare_names_half_of_a_pair(source, tmp_path):
    files = pairs("RealSRVal_crop128")
    del files["StableSR_testsets/RealSRVal_crop128/test_LR/Canon_001.png"]
    packed(source / "StableSR_testsets.zip", files)
    one = smaller("realsr", 3)
    refused(one, source, tmp_path / "out", r"RealSR, LR: 2 pictures instead of 3; missing: lq/Canon_001.png;")
    with pytest.raises(ValueError, match=r"LR: 2 pictures instead of 2; missing"):
        prepare(with_counts(one, [3, 2]), source, tmp_path / "out")


def test_prepare_in_an_empty_folder_says_what_was_looked_for(source, tmp_path):
    refused(SETS["reallq250"], source, tmp_path / "out", r"0 pictures instead of 250: .* RealLQ250.zip with lq/001.png")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("suffix", ["tar.gz", "tar"])
def test_prepare_names_a_truncated_archive(share, suffix, training, source, tmp_path):
    whole = {name: png(LSDIR[name], 40, 40) for name in list(LSDIR)[3:]}
    (source / "shard-01.tar.gz").unlink()
    path = source / f"shard-01.{suffix}"
    tar(path, whole)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(training, source, tmp_path / "out", rf"shard-01.{suffix} is truncated or damaged")
    path.write_bytes(content)
    prepare(training, source, tmp_path / "out")
    assert (tmp_path / "out" / "lsdir" / list(LSDIR)[5]).read_bytes() == whole[list(LSDIR)[5]]


def test_tar_that_ends_between_two_members_is_refused(training, source, tmp_path):
    """tarfile itself takes this for the end."""
    (source / "shard-01.tar.gz").unlink()
    tar(source / "shard-01.tar", {name: png(LSDIR[name]) for name in list(LSDIR)[3:]})
    with tarfile.open(source / "shard-01.tar") as file:
        last = file.getmembers()[-1].offset
    with (source / "shard-01.tar").open("r+b") as file:
        file.truncate(last)
    refused(training, source, tmp_path / "out", r"shard-01.tar is truncated or damaged \(no end mark\)")


def test_prepare_names_a_damaged_zip(source, tmp_path):
    packed(source / "RealLQ250.zip", {f"lq/{n:03}.png": png(n) for n in range(3)})
    content = bytearray((source / "RealLQ250.zip").read_bytes())
    content[200] ^= 1
    (source / "RealLQ250.zip").write_bytes(content)
    refused(smaller("reallq250", 3), source, tmp_path / "out", r"RealLQ250.zip is truncated or damaged \(Bad CRC")
    (source / "RealLQ250.zip").write_bytes(content[:300])
    refused(smaller("reallq250", 3), source, tmp_path / "out", r"RealLQ250.zip is truncated or damaged \(File is not")


@pytest.mark.parametrize("name", ["../../lq/004.png", "/lq/004.png", "lq/../../lq/004.png", "..\\lq\\004.png"])
@pytest.mark.parametrize("pack", [packed, tar])
def test_a_member_of_an_archive_that_leads_out_of_the_folder_is_refused(pack, name, source, tmp_path):
    path = source / ("RealLQ250.zip" if pack is packed else "RealLQ250.tar")
    pack(path, {"lq/001.png": png(1), name: png(4)})
    refused(smaller("reallq250", 2), source, tmp_path / "out", rf"{path.name}: its member .* leads out")
    assert not list(tmp_path.rglob("004.png"))


def test_a_link_in_an_archive_instead_of_a_picture_is_refused(source, tmp_path):
    (source / "secret").write_bytes(b"secret")
    with tarfile.open(source / "RealLQ250.tar", "w") as archive:
        info = tarfile.TarInfo("lq/001.png")
        info.type, info.linkname = tarfile.SYMTYPE, str(source / "secret")
        archive.addfile(info)
    refused(smaller("reallq250", 1), source, tmp_path / "out", r"RealLQ250.tar: lq/001.png is a link")


def test_prepare_names_pictures_of_a_wrong_size_and_files_that_are_none(source, tmp_path):
    files = pairs("RealSRVal_crop128")
    name = "StableSR_testsets/RealSRVal_crop128/test_LR/Canon_002.png"
    one = smaller("realsr", 3, sizes=((16, 16), (4, 4)))
    packed(source / "StableSR_testsets.zip", pairs("RealSRVal_crop128", 16, 8))
    refused(one, source, tmp_path / "early", r"Canon_000.png \(from .*\): 8 x 8 px instead of 4 x 4")
    assert len(files_of(tmp_path / "early")) == 4  # by the first one
    packed(source / "StableSR_testsets.zip", {**files, name: png(2, 4, 5)})
    refused(one, source, tmp_path / "out", r"Canon_002.png \(from .*\): 4 x 5 px instead of 4 x 4")
    packed(source / "StableSR_testsets.zip", {**files, name: b"no picture"})
    refused(one, source, tmp_path / "out", r"Canon_002.png: not a picture .* \(from .*fetch it again")
    packed(source / "StableSR_testsets.zip", files)
    prepare(one, source, tmp_path / "out")


def test_prepare_refuses_folders_within_each_other(source, tmp_path):
    refused(SETS["reallq250"], source, source / "out", "one contains the other")
    refused(SETS["reallq250"], source, tmp_path, "one contains the other")


def test_prepare_refuses_two_pictures_of_one_name(training, source, tmp_path):
    name = next(iter(LSDIR))
    (source / "old" / name).parent.mkdir(parents=True)
    (source / "old" / name).write_bytes(png(1)[:-20])
    refused(training, source, tmp_path / "out", rf"old/{name} and .*shard-00.tar.gz: .*{name} are different pictures")


def test_prepare_refuses_unknown_pictures_in_its_folder(source, tmp_path):
    packed(source / "RealLQ250.zip", {"lq/001.png": png(1)})
    (tmp_path / "out" / "lq").mkdir(parents=True)
    (tmp_path / "out" / "lq" / "mine.png").write_bytes(png(2))
    refused(
        smaller("reallq250", 1), source, tmp_path / "out", r"contains pictures that are not of this set: lq/mine.png"
    )


def test_prepare_ignores_files_that_are_no_pictures(source, tmp_path):
    """Captions beside the pictures, as `lit-pure caption` writes them; and a system's."""
    packed(source / "RealLQ250.zip", {"lq/001.png": png(1)})
    out = tmp_path / "out"
    prepare(smaller("reallq250", 1), source, out)
    (out / "lq" / "captions.jsonl").write_text("{}")
    (out / "lq" / "Thumbs.db").write_bytes(b"x")
    prepare(smaller("reallq250", 1), source, out)
    assert files_of(out) == ["lq/001.png", "lq/Thumbs.db", "lq/captions.jsonl"]


def test_prepare_with_a_limit_changes_nothing_in_a_complete_folder(training, source, tmp_path):
    out = tmp_path / "out"
    prepare(training, source, out)
    for record in (out / ".prepare").iterdir():
        record.unlink()
    before = {name: (out / name).read_bytes() for name in files_of(out)}
    prepare(training, source, out, limit=1)
    assert {name: (out / name).read_bytes() for name in files_of(out)} == before


def test_an_archive_stays_known_when_its_unpacked_folder_is_gone(source, tmp_path):
    packed(source / "RealLQ250.zip", {f"lq/{n:03}.png": png(n) for n in range(3)})
    with zipfile.ZipFile(source / "RealLQ250.zip") as archive:
        archive.extractall(source / "RealLQ250")
    one, out = smaller("reallq250", 3), tmp_path / "out"
    prepare(one, source, out)
    shutil.rmtree(source / "RealLQ250")
    work = prepare(one, source, out)
    assert sorted(work.placed) == [f"lq/{n:03}.png" for n in range(3)]


def test_prepare_follows_relative_links(source, tmp_path):
    """As a hub's cache has them: the link leads to a blob, and not from the folder written to."""
    (source / "blobs").mkdir()
    (source / "snapshot" / "lq").mkdir(parents=True)
    (source / "blobs" / "0af3").write_bytes(png(1))
    (source / "snapshot" / "lq" / "001.png").symlink_to("../../blobs/0af3")
    prepare(smaller("reallq250", 1), source / "snapshot", tmp_path / "out")
    assert (tmp_path / "out" / "lq" / "001.png").read_bytes() == png(1)
    assert not (tmp_path / "out" / "lq" / "001.png").is_symlink()


def test_prepare_leaves_unfinished_files_of_other_commands(training, source, tmp_path):
    out = tmp_path / "out"
    names = ["hq/.a.png.7.tmp", "hq/.a.png.7.prepare.tmp", "lsdir/.a.png.7.tmp", "lsdir/.a.png.7.prepare.tmp"]
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"half")
    prepare(training, source, out)
    assert [(out / name).exists() for name in names] == [True, True, True, False]


def test_prepare_names_an_unreadable_folder(source, tmp_path, monkeypatch):
    (source / "lq").mkdir()
    (source / "lq" / "001.png").write_bytes(png(1))
    (source / "more").mkdir()
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "more":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # the superuser, whom tests may run as, reads everything
    with pytest.raises(PermissionError, match="more"):
        prepare(smaller("reallq250", 1), source, tmp_path / "out")


def test_prepare_that_is_stopped_and_started_again_ends_complete(training, source, tmp_path, monkeypatch):
    """Stopped while the fifth picture is written, as a killed process leaves it; what is done is not done again."""
    out, written = tmp_path / "out", []

    def stopping(target):
        written.append(target)
        if len(written) == 5:
            (out / "lsdir" / "0001000" / ".half.png.1.prepare.tmp").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(training, source, out, progress=stopping)
    stood = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert len(stood) == 5 and not (out / "meta_info.txt").exists()
    prepare(training, source, out)
    assert stood == {path: path.stat().st_mtime_ns for path in stood}
    assert len(files_of(out)) == 9 and not list(out.rglob("*.tmp"))

    def reading(archive, source):
        assert archive.suffix == ".zip", "an archive whose record stands was read again"
        return members_of(archive, source)

    monkeypatch.setattr(module, "members_of", reading)
    prepare(training, source, out)
    (out / "lsdir" / next(iter(LSDIR))).unlink()
    with pytest.raises(AssertionError, match="was read again"):
        prepare(training, source, out)


def test_dry_run_writes_nothing_and_limit_takes_some(training, source, tmp_path):
    prepare(training, source, tmp_path / "dry", dry_run=True)
    assert not (tmp_path / "dry").exists()
    work = prepare(training, source, tmp_path / "some", limit=2)
    assert [work.number(part) for part in training.parts] == [2, 2]
    prepare(training, source, tmp_path / "some")
    assert len(files_of(tmp_path / "some")) == 9


def test_prepare_refuses_a_disk_that_is_too_small_before_it_writes(source, tmp_path, monkeypatch):
    packed(source / "RealLQ250.zip", {"lq/001.png": png(1, 100, 100)})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**28})())
    refused(smaller("reallq250", 1), source, tmp_path / "out", r"GB are needed")


def test_prepare_on_a_disk_that_fills_up_leaves_no_half_file(source, tmp_path, monkeypatch):
    packed(source / "RealLQ250.zip", {"lq/001.png": png(1), "lq/002.png": png(2)})
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:10])
        if "002" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device; unpacked pictures stay"):
        prepare(smaller("reallq250", 2), source, tmp_path / "out")
    monkeypatch.undo()
    assert files_of(tmp_path / "out") == ["lq/001.png"]
    prepare(smaller("reallq250", 2), source, tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["reallq25", ".", "out"], "invalid choice: 'reallq25'"),
        (["reallq250", "nowhere", "out"], "nowhere: no such folder"),
        (["reallq250", ".", "out", "--limit", "0"], "--limit"),
        (["shards", "file", "out"], "file is a file; prepare shards packs a folder"),
        (["shards", "nowhere", "out"], "nowhere: no such"),
        (["shards", "s", "s"], "s and s: one contains the other"),
        (["shards", "s", "s/t"], "s/t and s: one contains the other"),
        (["shards", "s/t", "s"], "s and s/t: one contains the other"),
        (["reallq250", ".", "out", "--count", "1", "2"], "--count: give one number, or 1"),
        (["reallq250", ".", "file"], "file is not a folder"),
    ],
)
def test_mistakes_in_prepare_s_arguments_are_refused(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "s" / "t").mkdir(parents=True)
    try:
        code = main(["prepare", *words])
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert told in capsys.readouterr().err


def test_prepare_prints_the_settings_that_use_the_set(source, tmp_path, capsys):
    packed(source / "StableSR_testsets.zip", pairs("RealSRVal_crop128", 512, 128))
    assert main(["prepare", "realsr", str(source), str(tmp_path / "out"), "--count", "3"]) == 0
    said = capsys.readouterr().out
    assert f"data.test.realsr.source={tmp_path}/out/hq data.test.realsr.lq={tmp_path}/out/lq" in said
    assert main(["prepare", "realsr", str(source), str(tmp_path / "other")]) == 1
    assert "RealSR, HR: 3 pictures instead of 100" in capsys.readouterr().err
    record = json.loads(next((tmp_path / "out" / ".prepare").iterdir()).read_text())
    assert len(record["holds"]) == 6
    assert re.fullmatch(r"downloads_StableSR_testsets.zip.json", next((tmp_path / "out" / ".prepare").iterdir()).name)


def test_shards_hold_the_pictures_and_their_captions(training, source, tmp_path, capsys):
    out, packs = tmp_path / "out", tmp_path / "packs"
    prepare(training, source, out)
    names = [*LSDIR, "00000/00000.png", "00000/00001.png"]
    lines = [{"image": Path(name).name, "caption": f"A picture, {Path(name).stem}."} for name in names]
    (out / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[1:]))
    assert main(["prepare", "shards", str(out), str(packs)]) == 1
    assert "no caption for lsdir/0001000/0000001.png" in capsys.readouterr().err
    (out / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["prepare", "shards", str(out), str(packs)]) == 0
    assert f"data.train.source={packs} data.train.captions=shards" in capsys.readouterr().out
    before = find_photos(PhotosConfig(source=str(out), meta_info=str(out / "meta_info.txt")), 1).found
    after = find_photos(PhotosConfig(source=str(packs)), 1).found
    assert [(one.name, one.content()) for one in before] == [(one.name, one.content()) for one in after]
    assert after[0].caption() == "A picture, 00000."
