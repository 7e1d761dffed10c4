"""Which photographs a configuration names, and messages about unusable ones."""

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from lit_pure.config.data import DataConfig, PhotosConfig
from lit_pure.config.dem import DemExperiment
from lit_pure.config.experiment import Experiment
from lit_pure.config.pure import PureExperiment
from lit_pure.config.ranges import violations
from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.datasets import sources
from lit_pure.datasets.encoded import fingerprint
from lit_pure.datasets.sources import SKIMAGE_PHOTOS, find_photos, photos_in
from tests.datasets.pictures import damage, save

SIZE = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def names(config: PhotosConfig) -> list[str]:
    return [photo.name for photo in find_photos(config, SIZE).found]


def reasons(config: PhotosConfig) -> dict[str, str]:
    return {path.name: reason for path, reason in find_photos(config, SIZE).skipped}


def test_all_photos_of_scikit_image_are_found() -> None:
    photos = find_photos(PhotosConfig(), 128)
    assert [photo.name for photo in photos.found] == list(SKIMAGE_PHOTOS) and photos.skipped == []
    large = find_photos(PhotosConfig(), 512)
    assert [photo.label for photo in large.found] == ["astronaut", "hubble_deep_field", "ihc", "retina"]
    assert all("shorter than 512" in reason for _, reason in large.skipped) and len(large.skipped) == 5


def test_names_choose_photos_and_typos_are_refused_with_the_nearest() -> None:
    chosen = find_photos(PhotosConfig(names=["rocket", "chelsea"]), 128).found
    assert [photo.label for photo in chosen] == ["chelsea", "rocket"]
    with pytest.raises(ValueError, match="chelsae.*near: chelsea"):
        find_photos(PhotosConfig(names=["chelsae"]), 128)


def test_names_and_lists_find_photographs_however_their_letters_are_composed(folder: Path) -> None:
    save(folder / "ve\u0301lo" / "e\u0301.png")
    listed = folder.parent / "list.txt"
    listed.write_text("v\u00e9lo/\u00e9.png (48,64,3)\na.png\n", encoding="utf-8")
    by_list = find_photos(PhotosConfig(source=str(folder), meta_info=str(listed)), SIZE)
    assert [photo.label for photo in by_list.found] == ["a", "v\u00e9lo_\u00e9"] and all(
        photo.path.is_file() for photo in by_list.found
    )
    [by_name] = find_photos(PhotosConfig(source=str(folder), names=["\u00e9"]), SIZE).found
    before = fingerprint([by_name])
    (folder / "ve\u0301lo").rename(folder / "v\u00e9lo")
    (folder / "v\u00e9lo" / "e\u0301.png").rename(folder / "v\u00e9lo" / "\u00e9.png")
    assert fingerprint(find_photos(PhotosConfig(source=str(folder), names=["e\u0301"]), SIZE).found) == before


def test_sub_folders_and_links_are_looked_into_once_and_hidden_files_never(folder: Path) -> None:
    save(folder / "0001000" / "0000001.png")
    save(folder.parent / "faces" / "f.jpg")
    (folder / "ffhq").symlink_to(folder.parent / "faces")
    (folder / "0001000" / "back").symlink_to(folder)
    save(folder / ".cache" / "h.png")
    (folder / "._a.png").write_text("what a Mac leaves behind")
    (folder / "notes.txt").write_text("no picture")
    photos = find_photos(PhotosConfig(source=str(folder)), SIZE)
    assert [photo.name for photo in photos.found] == ["0001000/0000001.png", "a.png", "b.png", "c.png", "ffhq/f.jpg"]
    assert photos.found[0].label == "0001000_0000001" and photos.skipped == []
    assert names(PhotosConfig(source=str(folder), names=["0000001"])) == ["0001000/0000001.png"]


def test_bad_photos_are_skipped_with_a_reason(folder: Path) -> None:
    (folder / "text.png").write_text("no picture")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    save(folder / "small.png", 16, 64)
    config = PhotosConfig(source=str(folder))
    assert names(config) == ["a.png", "b.png", "c.png"]
    found = reasons(config)
    assert "not a picture" in found["text.png"] and "16 x 64" in found["small.png"]
    assert found["gone.png"] == "no such file"


def test_a_source_without_usable_photos_is_refused_with_the_reasons(folder: Path) -> None:
    with pytest.raises(ValueError, match="a.png: 48 x 64 px, shorter than 512"):
        find_photos(PhotosConfig(source=str(folder)), 512)
    with pytest.raises(ValueError, match="no such folder"):
        find_photos(PhotosConfig(source=str(folder / "absent")), SIZE)
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no pictures in it or below \(.*\), and no \*.tar directly in it"):
        photos_in(folder / "empty")


def test_a_list_names_photographs_relative_or_absolute(folder: Path) -> None:
    save(folder.parent / "else where" / "d e.png")
    lines = ["c.png", "", "sub/../a.png", f"{folder / 'b.png'}", f"{folder.parent / 'else where' / 'd e.png'}  "]
    (folder / "list.txt").write_text("\r\n".join(lines))
    found = find_photos(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt")), SIZE)
    (folder / "sub").mkdir()
    again = find_photos(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt")), SIZE)
    assert [photo.name for photo in found.found] == ["b.png", "c.png", f"{folder.parent}/else where/d e.png"[1:]]
    assert [path.name for path, _ in found.skipped] == ["a.png"] and again.skipped == []
    absolute = PhotosConfig(source="", meta_info=str(folder / "list.txt"))
    (folder / "list.txt").write_text("\n".join(str(folder / f"{name}.png") for name in "ab"))
    assert names(absolute) == [f"{folder}/a.png"[1:], f"{folder}/b.png"[1:]]


def test_a_size_in_the_list_spares_opening_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "a.png (48,64,3)\nb.png (480, 640, 3)\nc.png (20,640,3)\ngone.png (480,640,3)\n"
    (folder / "list.txt").write_text(listed)  # b.png is not what the list says; only its header would tell
    monkeypatch.setattr(sources, "image_size", lambda path: pytest.fail(f"{path} was opened"))
    config = PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt"))
    photos = find_photos(config, SIZE)
    assert [(photo.name, photo.size) for photo in photos.found] == [("a.png", (48, 64)), ("b.png", (480, 640))]
    assert reasons(config) == {"c.png": "20 x 640 px, shorter than 32", "gone.png": "no such file"}


@pytest.mark.parametrize(
    "line", ["000 100 (720,1280,3)", "b.png (0,64,3)", "b.png (48x64)", "b.png (48,64,3) 1", "\xff"]
)
def test_a_bad_line_of_a_list_is_refused_with_its_number(folder: Path, line: str) -> None:
    (folder / "list.txt").write_bytes(f"a.png\n\n{line}\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list.txt, line 3: .*expected a line like"):
        find_photos(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt")), SIZE)


def test_a_list_that_cannot_be_read_is_named(folder: Path) -> None:
    for path in (folder / "absent.txt", folder):
        with pytest.raises(ValueError, match=f"{path.name}: cannot read this list"):
            find_photos(PhotosConfig(source=str(folder), meta_info=str(path)), SIZE)
    (folder / "list.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="list.txt: this list is empty; expected a line like"):
        find_photos(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt")), SIZE)
    (folder / "list.txt").write_text("gone.png\n")
    with pytest.raises(ValueError, match=r"list.txt: none of 1 photographs is usable \(gone.png: no such file"):
        find_photos(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt")), SIZE)


def test_the_mark_that_some_editors_put_before_utf8_is_no_part_of_a_name(folder: Path) -> None:
    (folder / "list.txt").write_text("a.png\nb.png\n", encoding="utf-8-sig")
    assert names(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt"))) == ["a.png", "b.png"]


def test_a_list_written_by_basicsr_itself_is_understood(folder: Path) -> None:
    """Its generate_meta_info writes f"{relative path} ({height},{width},{channels})" by Pillow's size."""
    with (folder / "list.txt").open("w") as fout:
        for path in sorted(folder.glob("*.png")):
            with Image.open(path) as picture:
                width, height = picture.size
                fout.write(f"{os.path.relpath(path, folder)} ({height},{width},{len(picture.getbands())})\n")
    listed = find_photos(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt")), SIZE)
    assert listed.found == find_photos(PhotosConfig(source=str(folder)), SIZE).found


def test_fingerprint_follows_names_and_sizes(folder: Path) -> None:
    photos = find_photos(PhotosConfig(source=str(folder)), SIZE).found
    before = fingerprint(photos)
    assert len(before) == 64 and fingerprint(photos[::-1]) == before != fingerprint(photos[1:])
    damage(folder / "b.png")
    assert fingerprint(find_photos(PhotosConfig(source=str(folder)), SIZE).found) != before


def test_fingerprint_takes_names_that_are_not_utf8(folder: Path) -> None:
    before = fingerprint(find_photos(PhotosConfig(source=str(folder)), SIZE).found)
    (folder / "b.png").rename(folder / os.fsdecode(b"b\xe4.png"))
    photos = find_photos(PhotosConfig(source=str(folder)), SIZE).found
    content = b"".join(os.fsencode(photo.name) + f"\0{photo.length}\n".encode() for photo in photos)
    assert fingerprint(photos) == hashlib.sha256(content).hexdigest() != before


def problems(experiment: Experiment) -> list[str]:
    return [f"{key} {problem}" for key, problem in violations(experiment)]


def test_configurations_that_name_nothing_are_refused_before_anything_is_looked_at() -> None:
    def said(**sets: PhotosConfig) -> list[str]:
        return [f"{key} {problem}" for key, problem in violations(DataConfig(**sets))]  # type: ignore[arg-type]

    assert said(train=PhotosConfig(source=""))[0].startswith("train.source is empty")
    assert said(val=PhotosConfig(meta_info="list.txt"))[0].startswith("val.source is skimage, which has no meta_info")
    assert said(train=PhotosConfig(source="hq", lq="lq"))[0].startswith("train.lq is for val and test sets")
    assert said(val=PhotosConfig(source="", lq="lq"))[0].startswith("val.source is empty, and a validation loss")
    assert said(val=PhotosConfig(source="hq", lq="lq")) == []


def test_families_that_need_hq_are_not_tested_without() -> None:
    data = DataConfig(test={"web": PhotosConfig(source="", lq="lq"), "real": PhotosConfig(source="hq", lq="lq")})
    assert problems(PureExperiment(data=data)) == []
    for experiment in (TokenizerExperiment(data=data), DemExperiment(data=data)):
        assert len(problems(experiment)) == 1
        assert problems(experiment)[0].startswith("data.test.web.source is empty, and family")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("root/a.png", "looked for root/root/a.png: a path of the list continues source = 'root'"),
        ("/a.png", r"looked for /a.png: a path that begins with \"/\" does not continue source"),
        ("~/a.png", "~/a.png: ~ is not expanded"),
        ("a.png, b.png", "a.png, b.png: it names two files; name one a line"),
    ],
)
def test_a_list_with_a_wrong_root_says_where_it_looked(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=words):
        find_photos(PhotosConfig(source="root", meta_info="list.txt"), SIZE)
