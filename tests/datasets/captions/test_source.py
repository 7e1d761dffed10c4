"""Sources of captions: pixels need nothing, a sidecar is searched by name, then by stem."""

from pathlib import Path

import pytest
import torch

from lit_pure.datasets.captions.source import Pixels, Sidecar, caption_source


def test_captions_match_photographs_by_name_or_stem(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text(
        '{"image": "train/a.jpg", "caption": " two\\n words ", "from": "llava"}\n\n{"image": "b.v1", "caption": "b"}\n'
        '{"image": "a.png", "caption": "exact"}\n',
        encoding="utf-8",
    )
    source = Sidecar(path)
    pixels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    assert [source(Path(name), pixels, pixels) for name in ("x/a.jpg", "a.png", "b.v1.png")] == [
        "two words",
        "exact",
        "b",
    ]
    assert source.missing(["a.jpg", "c.png", "b.v1.jpg"]) == ["c.png"]
    with pytest.raises(ValueError, match="c.png"):
        source(Path("c.png"), pixels, pixels)


def test_captions_match_however_letters_are_composed(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"image": "in/e\u0301.png", "caption": "one"}\n', encoding="utf-8")
    source = Sidecar(path)
    names = ["in/\u00e9.png", "in/e\u0301.png", "\u00e9.jpg", "out/\u00e9.png"]
    assert [source.find(name) for name in names] == ["one"] * 4
    assert source.missing(names[:1]) == source.missing(names[1:2]) == []
    path.write_text(
        path.read_text(encoding="utf-8") + '{"image": "in/\u00e9.png", "caption": "two"}\n', encoding="utf-8"
    )
    with pytest.raises(ValueError, match="line 2: a second caption"):
        Sidecar(path)


def test_a_stem_that_two_pictures_share_matches_none(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"image": "a.png", "caption": "first"}\n{"image": "a.jpg", "caption": "second"}\n')
    source = Sidecar(path)
    pixels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    assert [source(Path(name), pixels, pixels) for name in ("a.png", "a.jpg")] == ["first", "second"]
    assert source.missing(["a.webp", "a.png"]) == ["a.webp"]


def test_photographs_of_the_same_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    lines = [("u/1.png", "of u"), ("v/1.png", "of v"), ("v/2.png", "two"), ("3.png", "three")]
    path.write_text("".join(f'{{"image": "{image}", "caption": "{caption}"}}\n' for image, caption in lines))
    source = Sidecar(path)
    assert [source.find(name) for name in ("u/1.png", "v/1.jpg", "w/2.png", "w/3.jpg")] == [
        "of u",
        "of v",
        "two",
        "three",
    ]
    assert source.missing(["w/1.png", "u/1.png", "v/1.png"]) == ["w/1.png"]
    assert source.missing(["x/3.png", "3.png", "w/2.png"]) == ["x/3.png"]  # a file name alone does not say which
    assert source.missing(["x/3.png", "w/2.png"]) == []


@pytest.mark.parametrize(
    ("images", "asked", "missing"),
    [
        (["sub/1.png"], ["sub/1.png", "other/1.jpg"], ["other/1.jpg"]),
        (["sub/1.png"], ["sub/1.jpg", "other/1.jpg"], ["sub/1.jpg", "other/1.jpg"]),
        (["a"], ["x/a.jpg", "y/a.png"], ["x/a.jpg", "y/a.png"]),
        (["a.v2"], ["a.png"], ["a.png"]),
        (["a.v2", "a.v3.png"], ["x/a.v2.png", "a.v3.jpg"], []),
        (["a.png"], ["a.png", "a.jpg"], ["a.jpg"]),
        (["a.png"], ["x/a.jpg"], []),
        (["u/a", "v/a"], ["u/a.png", "v/a.png", "w/a.png"], ["w/a.png"]),
        (["u/a.JPG", "v/a.JPG"], ["u/a.png", "v/a.png"], []),
    ],
)
def test_no_photograph_has_the_caption_of_another(
    images: list[str], asked: list[str], missing: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(f'{{"image": "{image}", "caption": "of {image}"}}\n' for image in images))
    assert Sidecar(path).missing(asked) == missing


def test_captions_come_from_pixels_or_from_a_file_that_must_exist(tmp_path: Path) -> None:
    assert isinstance(caption_source("pixels"), Pixels)
    silent = caption_source("none")
    assert silent(Path("a.png"), torch.empty(0), torch.empty(0)) == "" and not silent.missing(["a.png"])
    with pytest.raises(ValueError, match=r"absent.jsonl: cannot read captions \(No such file"):
        caption_source(str(tmp_path / "absent.jsonl"))
