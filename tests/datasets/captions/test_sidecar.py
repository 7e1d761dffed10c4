"""Sidecars are read completely or refused by line; written ones survive a kill and a full disk."""

import codecs
import json
import os
import resource
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lit_pure.datasets.captions import sidecar
from lit_pure.datasets.captions.sidecar import SidecarWriter, read_sidecar

ORIGIN = {"source": "test", "prompt": "What?"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "captions.jsonl"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "a list"),
        ('{"image": "a.png"}', "'caption' is None"),
        ('{"image": 3, "caption": "x"}', "'image' is 3"),
        ('{"image": "a.png", "caption": "  "}', "'caption' is '  '"),
        ('{"image": ".", "caption": "x"}', "'image' is '.'"),
        ('{"image": "./", "caption": "x"}', "'image' is './'"),
        ('{"image": "//", "caption": "x"}', "'image' is '//'"),
        ('{"image": "u/..", "caption": "x"}', "'image' is 'u/..'"),
        ('{"image": "ok.png", "caption": "another"}', "second caption for ok.png"),
        (r'{"image": "a.png", "caption": "x\ud800"}', "half a surrogate pair at 1"),
    ],
)
def test_a_bad_line_of_a_caption_file_is_named(line: str, reason: str, path: Path) -> None:
    path.write_text('{"image": "ok.png", "caption": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError, match="captions.jsonl, line 2: ") as caught:
        read_sidecar(path)
    assert reason in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-32"])
def test_a_caption_file_in_another_encoding_is_refused(encoding: str, path: Path) -> None:
    path.write_bytes('{"image": "ok.png", "caption": "café"}\n'.encode(encoding))
    with pytest.raises(ValueError, match="line 1: not UTF-8 .* save the file in that encoding"):
        read_sidecar(path)


def test_caption_files_that_editors_changed_are_read(path: Path) -> None:
    lines = ['{"image": "a.png", "caption": "café"}', "", '{"image": "b.png", "caption": "b"}']
    path.write_bytes(codecs.BOM_UTF8 + "\r\n".join(lines).encode())
    assert {image: entry.caption for image, entry in read_sidecar(path).items()} == {"a.png": "café", "b.png": "b"}


def test_caption_files_keep_the_folders_of_names(path: Path) -> None:
    path.write_text('{"image": "./u/1.png", "caption": "of u"}\n{"image": "v/1.png", "caption": "of v"}\n')
    assert list(read_sidecar(path)) == ["u/1.png", "v/1.png"]


def test_written_captions_are_read_back(path: Path) -> None:
    captions = {"a.png": "One\u2028two é", "ä.jpg": '{"x"}\\', "not-utf8-\udcff.png": "three"}
    writer = SidecarWriter(path, ORIGIN)
    assert not path.exists()
    writer.append({"a.png": captions["a.png"]})
    writer.append({image: caption for image, caption in captions.items() if image != "a.png"})
    assert path.read_bytes().count(b"\n") == 3
    entries = read_sidecar(path)
    assert {image: entry.caption for image, entry in entries.items()} == captions | {"a.png": "One two é"}
    assert all(entry.other == ORIGIN for entry in entries.values())
    assert SidecarWriter(path, ORIGIN).done == writer.done == set(captions)


def test_a_caption_file_cut_at_any_byte_loses_its_last_line_at_most(path: Path) -> None:
    SidecarWriter(path, ORIGIN).append({"a.png": "first"})
    first = path.read_bytes()
    SidecarWriter(path, ORIGIN).append({"b.png": "é second"})
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        writer = SidecarWriter(path, ORIGIN)
        for image, caption in {"a.png": "first", "b.png": "é second"}.items():
            if image not in writer.done:
                writer.append({image: caption})
        assert path.read_bytes() == whole
        assert writer.done == {"a.png", "b.png"}
    path.write_bytes(whole[: len(first) + 5])
    assert SidecarWriter(path, ORIGIN).done == {"a.png"} and path.read_bytes() == first


def test_a_malformed_caption_file_is_refused_and_left_as_it_is(path: Path) -> None:
    SidecarWriter(path, ORIGIN).append({"a.png": "first"})
    spoiled = path.read_bytes() + b'{"image": "b.p\n' + b'{"image": "c'
    path.write_bytes(spoiled)
    with pytest.raises(ValueError, match="line 2: not JSON"):
        SidecarWriter(path, ORIGIN)
    assert path.read_bytes() == spoiled


@pytest.mark.parametrize("tail", ["my only notes", '{"picture": "b.png', "{image: 3}", "5", '{"image": 3}', "{}"])
@pytest.mark.parametrize("lines", [0, 1])
def test_a_file_whose_end_is_no_caption_is_refused_and_left_as_it_is(lines: int, tail: str, path: Path) -> None:
    content = lines * (json.dumps({"image": "a.png", "caption": "x", **ORIGIN}) + "\n") + tail
    path.write_text(content)
    with pytest.raises(ValueError, match=f"captions.jsonl, line {lines + 1}: "):
        SidecarWriter(path, ORIGIN)
    assert path.read_text() == content


@pytest.mark.parametrize("begun", [False, True])
def test_captions_that_another_process_adds_meanwhile_stay(
    begun: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if begun:
        SidecarWriter(path, ORIGIN).append({"a.png": "first"})
    other, entries = SidecarWriter(path, ORIGIN), sidecar._entries

    def slow(path: Path, content: bytes) -> dict[str, sidecar.CaptionEntry]:
        other.append({"b.png": "second"})
        return entries(path, content)

    monkeypatch.setattr(sidecar, "_entries", slow)
    SidecarWriter(path, ORIGIN)
    monkeypatch.undo()
    assert list(read_sidecar(path)) == ["a.png"] * begun + ["b.png"]


def test_an_empty_caption_file_is_not_removed(path: Path) -> None:
    path.touch()
    SidecarWriter(path, ORIGIN)
    assert path.exists()


def test_a_device_as_caption_file_is_refused_and_kept(path: Path) -> None:
    path.symlink_to(os.devnull)
    with pytest.raises(OSError, match="cannot be written: .* --out"):
        SidecarWriter(path, ORIGIN)
    assert path.is_symlink()


def test_captions_of_replaced_photographs_are_removed_and_all_others_stay(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "e\u0301.png", "old.png"):
        (tmp_path / name).write_bytes(name.encode())
    names = ["a.png", "b.png", "\u00e9.png", "old.png"]
    path = tmp_path / "captions.jsonl"
    writer = SidecarWriter(path, ORIGIN)
    digests = {name: f"{zlib.crc32(name.encode()):08x}" for name in ("a.png", "b.png", "e\u0301.png")}
    writer.append(dict.fromkeys(digests, "words"), digests)
    writer.append({"old.png": "by an earlier version"})
    (tmp_path / "b.png").write_bytes(b"another photograph")
    (tmp_path / "e\u0301.png").rename(tmp_path / "\u00e9.png")
    assert SidecarWriter(path, ORIGIN).missing(tmp_path, names) == ["b.png"]
    assert list(read_sidecar(path)) == ["a.png", "\u00e9.png", "old.png"]
    assert SidecarWriter(path, ORIGIN).missing(tmp_path, names) == ["b.png"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"source": "test", "prompt": "Why?"}, 'prompt "Why\\?", not "What\\?" as now'),
        ({"source": "pixels"}, 'source "pixels", not "test" as now'),
        ({}, 'source null, not "test" as now'),
    ],
)
def test_captions_of_another_origin_are_not_mixed(line: dict[str, str], reason: str, path: Path) -> None:
    content = json.dumps({"image": "a.png", "caption": "x", **line}) + '\n{"image": "b'
    path.write_text(content)
    with pytest.raises(ValueError, match=f"a.png has {reason}; choose another file with --out"):
        SidecarWriter(path, ORIGIN)
    assert path.read_text() == content


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system writes up to this byte, as on a disk that runs full, and then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_whole_lines_of_captions(path: Path) -> None:
    writer = SidecarWriter(path, ORIGIN)
    writer.append({"a.png": "first"})
    before = path.read_bytes()
    with largest_file(len(before) + 20), pytest.raises(OSError, match="earlier captions are complete") as caught:
        writer.append({"b.png": "second", "c.png": "third"})
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before and writer.done == {"a.png"}
    writer.append({"b.png": "second"})
    assert list(read_sidecar(path)) == ["a.png", "b.png"]


def test_captions_are_on_the_disk_before_they_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SidecarWriter(path, ORIGIN)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append((os.fstat(file).st_size, len(writer.done))))
    writer.append({"a.png": "first"})
    assert seen == [(path.stat().st_size, 0)]


def test_a_caption_file_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "captions.jsonl"):
        with pytest.raises(OSError, match="cannot be written: .* --out"):
            SidecarWriter(path, ORIGIN)


def test_the_folder_of_a_caption_file_is_made(tmp_path: Path) -> None:
    SidecarWriter(tmp_path / "a" / "b" / "c.jsonl", {}).append({"x.png": "y"})
    assert list(read_sidecar(tmp_path / "a" / "b" / "c.jsonl")) == ["x.png"]
