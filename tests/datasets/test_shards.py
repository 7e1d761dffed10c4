"""Tar shards are read back byte by byte; foreign ones are read, damaged ones are refused by name."""

import io
import json
import os
import pickle
import subprocess
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from lit_pure.config.data import PhotosConfig
from lit_pure.datasets import shards
from lit_pure.datasets.encoded import Photo, fingerprint
from lit_pure.datasets.photos import Crops
from lit_pure.datasets.shards import INDEX, read_shards, write_shards
from lit_pure.datasets.sources import find_photos, photos_in
from lit_pure.images.io import BadImage
from tests.datasets.pictures import save

SIZE = 32


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    for name in ("a.png", "b.jpg", "sub/c.PNG", "sub/d.webp"):
        save(tmp_path / "photos" / name)
    return find_photos(PhotosConfig(source=str(tmp_path / "photos")), SIZE).found


def words(photo: Photo) -> str:
    return "" if photo.label == "a" else f"Ein Bild,\n genannt {photo.label} \u00e4."


def test_shards_give_back_bytes_names_sizes_and_captions(photos: list[Photo], tmp_path: Path) -> None:
    made = write_shards(photos, tmp_path / "out", shard_bytes=3000, caption=words)
    assert [path.name for path in made] == [f"{number:06d}.tar" for number in range(len(made))] and len(made) > 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*(path.name for path in made), INDEX]
    found = find_photos(PhotosConfig(source=str(tmp_path / "out")), SIZE).found
    assert [(photo.name, photo.size, photo.length) for photo in found] == [
        (photo.name, photo.size, photo.length) for photo in photos
    ]
    assert [photo.content() for photo in found] == [photo.path.read_bytes() for photo in photos]
    assert [photo.caption() for photo in found] == ["", *(f"Ein Bild, genannt {p.label} \u00e4." for p in photos[1:])]
    assert fingerprint(found) == fingerprint(photos)
    assert pickle.loads(pickle.dumps(found)) == found


def test_gnu_tar_reads_our_shards_and_we_read_those_of_gnu_tar(photos: list[Photo], tmp_path: Path) -> None:
    write_shards(photos, tmp_path / "out", caption=words)
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "xf", tmp_path / "out" / "000000.tar", "-C", tmp_path / "unpacked"], check=True)
    for photo in photos:
        assert (tmp_path / "unpacked" / photo.name).read_bytes() == photo.path.read_bytes()
    (tmp_path / "theirs").mkdir()
    subprocess.run(["tar", "cf", tmp_path / "theirs" / "x.tar", "-C", tmp_path / "unpacked", "."], check=True)
    found = find_photos(PhotosConfig(source=str(tmp_path / "theirs")), SIZE).found
    assert [(photo.name, photo.content()) for photo in found] == [(p.name, p.path.read_bytes()) for p in photos]
    assert [bool(photo.caption()) for photo in found] == [False, True, True, True]


def test_equal_photographs_make_equal_shards(photos: list[Photo], tmp_path: Path) -> None:
    first = write_shards(photos, tmp_path / "one", shard_bytes=3000)
    for photo in photos:
        os.utime(photo.path, (1, 1))
    second = write_shards(iter(photos), tmp_path / "two", shard_bytes=3000)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with tarfile.open(first[0]) as archive:
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}


def test_no_shard_exceeds_its_size_but_by_a_photograph_that_does(photos: list[Photo], tmp_path: Path) -> None:
    limit = 3000
    for path in write_shards(photos, tmp_path / "out", shard_bytes=limit):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
        filled = sum(512 + -(-member.size // 512) * 512 for member in members)
        assert filled <= limit or len(members) == 1


def test_the_index_of_shards_is_made_once_and_again_when_they_change(
    photos: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_shards(photos[:2], out)
    written = (out / INDEX).read_bytes()
    (out / INDEX).unlink()
    assert [photo.name for photo in read_shards(out).found] == ["a.png", "b.jpg"]
    assert (out / INDEX).read_bytes() == written
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_rows", lambda shard: pytest.fail("looked again"))
        assert len(read_shards(out).found) == 2
    write_shards(photos[2:], tmp_path / "more")
    (tmp_path / "more" / "000000.tar").rename(out / "more.tar")
    assert len(read_shards(out).found) == 4 == len(json.loads((out / INDEX).read_text())["photos"])


@pytest.mark.parametrize("packed", [True, False])
def test_shards_of_the_same_names_and_sizes_are_not_taken_for_those_indexed(
    photos: list[Photo], tmp_path: Path, packed: bool
) -> None:
    out, place = tmp_path / "out", tmp_path / "again"
    (first,) = write_shards(photos, out, caption=words)
    before, index = first.stat().st_size, (out / INDEX).read_bytes()
    first.unlink()
    if packed:  # where the old ones lay
        (second,) = write_shards(photos[::-1], out, caption=lambda photo: words(photo) * 2)
    else:  # elsewhere, and moved there
        (made,) = write_shards(photos[::-1], place, caption=lambda photo: words(photo) * 2)
        second = made.rename(out / made.name)
    assert second == first and second.stat().st_size == before and (out / INDEX).read_bytes()[:40] == index[:40]
    found = find_photos(PhotosConfig(source=str(out)), SIZE).found
    assert [photo.content() for photo in found] == [photo.path.read_bytes() for photo in photos]
    assert [photo.caption() for photo in found] == [" ".join((words(photo) * 2).split()) for photo in photos]


def test_packing_removes_an_index_of_ours_even_if_it_tells_of_the_same_state(
    photos: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_shard_state", lambda shard: [0, 0])
    write_shards(photos, tmp_path / "out")[0].unlink()
    write_shards(photos[::-1], tmp_path / "out")
    assert [photo.content() for photo in find_photos(PhotosConfig(source=str(tmp_path / "out")), SIZE).found] == [
        photo.path.read_bytes() for photo in photos
    ]


def test_a_shard_index_of_an_older_layout_is_made_again(photos: list[Photo], tmp_path: Path) -> None:
    (shard,) = write_shards(photos, tmp_path / "out")
    new = (tmp_path / "out" / INDEX).read_text()
    old = {"layout": "lit-pure-shards-1", "shards": {shard.name: shard.stat().st_size}, "photos": []}
    (tmp_path / "out" / INDEX).write_text(json.dumps(old))
    assert len(read_shards(tmp_path / "out").found) == 4
    assert (tmp_path / "out" / INDEX).read_text() == new


def test_what_a_killed_packing_left_is_removed(photos: list[Photo], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".000000.tar.4711.tmp").write_bytes(b"half a shard")
    (tmp_path / "out" / ".notes.tmp").write_bytes(b"not of ours")
    write_shards(photos, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".notes.tmp", "000000.tar", INDEX]


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_caption_beside_a_picture_is_a_missing_one(photos: list[Photo], tmp_path: Path, text: str) -> None:
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "a.png").write_bytes(photos[0].content())
    (tmp_path / "loose" / "a.txt").write_text(text)
    (tmp_path / "out").mkdir()
    with tarfile.open(tmp_path / "out" / "x.tar", "w") as archive:
        archive.add(tmp_path / "loose", "")
    with pytest.raises(ValueError, match="shards: no caption for a.png; add KEY.txt"):
        Crops(PhotosConfig(source=str(tmp_path / "out"), captions="shards"), SIZE, seed=1, training=True)


def test_where_no_shard_index_can_be_kept_it_is_made_each_time(
    photos: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    write_shards(photos, out)
    (out / INDEX).unlink()

    def read_only(self: Path, *_: object, **__: object) -> int:
        raise PermissionError(13, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", read_only)
        assert len(read_shards(out).found) == 4
    assert "index.json cannot be saved (Read-only file system): it is rebuilt at every start" in caplog.text
    (out / INDEX).write_text('{"somebody": "else"}')
    assert len(read_shards(out).found) == 4
    assert (
        out / INDEX
    ).read_text() == '{"somebody": "else"}' and "a file that is not our index has this name" in caplog.text


def test_a_damaged_index_or_shard_is_refused_by_name(photos: list[Photo], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (shard,) = write_shards(photos, out)
    index = json.loads((out / INDEX).read_text())
    del index["photos"][1]["start"]
    (out / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match="index.json: damaged .*start.*delete it"):
        read_shards(out)
    content = shard.read_bytes()
    within, between = content[:1200], content[:2560]
    header = content[:2560] + b"x" * 512 + content[3072:]  # of the third file
    for wrong in (within, between, header, b"", b"no tar" * 500, b"\x1f\x8b" + content):
        shard.write_bytes(wrong)
        (out / INDEX).unlink(missing_ok=True)
        with pytest.raises(ValueError, match="000000.tar: not a complete, uncompressed tar"):
            read_shards(out)


def test_members_of_shards_that_are_no_pictures_are_skipped_with_a_reason(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    (tmp_path / "out").mkdir()
    with tarfile.open(tmp_path / "out" / "x.tar", "w") as archive:
        for name, content in {"k/a.png": picture.getvalue(), "k/bad.png": b"text", "k/a.cls": b"7"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for _ in range(2):  # from the shard, and from the index
        found = find_photos(PhotosConfig(source=str(tmp_path / "out")), SIZE)
        assert [photo.name for photo in found.found] == ["k/a.png"]
        assert [(path.name, reason) for path, reason in found.skipped] == [
            ("bad.png", "not a picture in a format that Pillow reads")
        ]


def test_shards_and_loose_pictures_are_not_mixed(photos: list[Photo], tmp_path: Path) -> None:
    write_shards(photos, tmp_path / "photos")
    with pytest.raises(ValueError, match="contains tar shards and pictures"):
        photos_in(tmp_path / "photos")


def test_a_shard_that_got_shorter_gives_a_bad_image(photos: list[Photo], tmp_path: Path) -> None:
    (shard,) = write_shards(photos, tmp_path / "out")
    found = read_shards(tmp_path / "out").found
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(BadImage, match=r"000000.tar/sub/d.webp: the file is \d+ bytes too short"):
        found[-1].read()
    shard.unlink()
    with pytest.raises(BadImage, match="no such file"):
        found[0].read()


def test_writing_shards_that_fails_leaves_nothing_behind(photos: list[Photo], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="no photographs to write"):
        write_shards([], out)
    save(tmp_path / "photos" / "a.jpg")
    twice = find_photos(PhotosConfig(source=str(tmp_path / "photos")), SIZE).found
    with pytest.raises(ValueError, match="a.jpg has the same key a"):
        write_shards(twice, out, shard_bytes=1000)
    photos[-1].path.unlink()
    with pytest.raises(BadImage, match="d.webp: no such file"):
        write_shards(photos, out, shard_bytes=1000)
    assert list(out.iterdir()) == []
    write_shards(photos[:-1], out)
    with pytest.raises(ValueError, match="already contains tar shards"):
        write_shards(photos[:-1], out)


def test_dots_in_names_are_replaced_since_they_would_end_webdataset_keys(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "v1.2" / "a.b.png")
    photos = find_photos(PhotosConfig(source=str(tmp_path / "photos")), SIZE).found
    write_shards(photos, tmp_path / "out", caption=lambda photo: "words")
    (found,) = read_shards(tmp_path / "out").found
    assert (found.name, found.caption()) == ("v1.2/a_b.png", "words")


def test_crops_of_shards_are_those_of_the_folder_with_captions_beside(photos: list[Photo], tmp_path: Path) -> None:
    write_shards(photos, tmp_path / "out", caption=lambda photo: f"It is {photo.label}.")
    folder, sharded = (
        Crops(PhotosConfig(source=str(tmp_path / name), captions=captions), SIZE, seed=1, training=True)
        for name, captions in (("photos", "pixels"), ("out", "shards"))
    )
    for index in range(4):
        one, other = folder[2, index], sharded[2, index]
        assert (one["hq_3HW"] == other["hq_3HW"]).all() and one["name"] == other["name"]
        assert other["caption"] == f"It is {other['name']}."
    with pytest.raises(ValueError, match="shards: no caption for a.png, b.jpg, .*add KEY.txt"):
        Crops(PhotosConfig(source=str(tmp_path / "photos"), captions="shards"), SIZE, seed=1, training=True)
