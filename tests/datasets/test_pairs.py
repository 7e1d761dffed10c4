"""Given low-quality pictures: partners are matched, crops show the same place, mismatches are reported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.pairs import find_pairs
from lit_pure.datasets.photos import Crops
from lit_pure.images.io import from_bytes, read_image, to_bytes
from tests.datasets.pictures import damage, save

SIZE, RATIO = 32, 4


def save_pair(folder: Path, name: str, height: int = 48, width: int = 64, ratio: int = RATIO) -> None:
    """An HQ picture whose pixels tell where they are, and every `ratio`-th of them as its LQ picture."""
    save(folder / "hq" / name, height, width)
    with Image.open(folder / "hq" / name) as hq:
        pixels = np.asarray(hq)[::ratio, ::ratio]
    (folder / "lq" / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / "lq" / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        save_pair(tmp_path, f"{name}.png")
    return tmp_path


def config(folder: Path, **changes: Any) -> PhotosConfig:
    return PhotosConfig(**{"source": str(folder / "hq"), "lq": str(folder / "lq"), **changes})


def test_partners_match_however_their_letters_are_composed(folder: Path) -> None:
    save_pair(folder, "\u00e9.png")
    (folder / "lq" / "\u00e9.png").rename(folder / "lq" / "e\u0301.png")
    pairs = find_pairs(config(folder), SIZE, RATIO)
    assert [pair.photo.label for pair in pairs.found] == ["a", "b", "c", "\u00e9"] and not pairs.skipped


def test_both_crops_of_a_pair_show_the_same_place(folder: Path) -> None:
    crops = Crops(config(folder, crops=5), SIZE, seed=0, training=False)
    assert len(crops) == 15 and crops.pairs.ratio == RATIO
    places = set()
    for index in range(15):
        item = crops[0, index]
        hq_3HW, lq_3hw = item["hq_3HW"], item["lq_3hw"]
        assert hq_3HW.shape == (3, SIZE, SIZE) and lq_3hw.shape == (3, SIZE // RATIO, SIZE // RATIO)
        assert lq_3hw.dtype == torch.uint8 and torch.equal(hq_3HW[:, ::RATIO, ::RATIO], lq_3hw)
        assert int(hq_3HW[0, 0, 0]) % RATIO == int(hq_3HW[1, 0, 0]) % RATIO == 0
        places.add(tuple(hq_3HW[:2, 0, 0].tolist()))
    assert len(places) > 3 and crops[0, 0]["name"] == "a_c0"


def test_a_picture_of_exactly_the_crop_s_size_is_taken_whole(tmp_path: Path) -> None:
    save_pair(tmp_path, "a.png", SIZE, SIZE, 2)
    item = Crops(config(tmp_path), SIZE, seed=0, training=False)[0, 0]
    assert torch.equal(item["hq_3HW"], to_bytes(read_image(tmp_path / "hq" / "a.png")))
    assert torch.equal(item["lq_3hw"], to_bytes(read_image(tmp_path / "lq" / "a.png")))


def test_lq_alone_has_no_hq_and_no_words_about_it(folder: Path) -> None:
    crops = Crops(config(folder, source=""), SIZE, seed=0, training=False, scale=RATIO)
    item = crops[0, 1]
    assert "hq_3HW" not in item and item["lq_3hw"].shape == (3, 8, 8) and item["name"] == "b"
    assert item["caption"] == ""
    assert item["lq_3hw"][0, 0, 0] == 8  # the centre: row 2 of 12, cut out of every fourth row
    (folder / "captions.jsonl").write_text(
        "\n".join(json.dumps({"image": name, "caption": f"It is {name}."}) for name in "abc")
    )
    told = Crops(config(folder, source="", captions=str(folder / "captions.jsonl")), SIZE, 0, False, RATIO)
    assert told[0, 1]["caption"] == "It is b."
    with pytest.raises(ValueError, match=r"\(a.png: 12 x 16 px, shorter than 32; b.png"):
        Crops(config(folder, source=""), 2 * SIZE, seed=0, training=False, scale=RATIO // 2)


def test_pairs_that_do_not_fit_are_skipped_with_their_reasons(folder: Path) -> None:
    save(folder / "hq" / "alone.png")
    save(folder / "hq" / "odd.png")
    save(folder / "lq" / "odd.png", 13, 16)
    save(folder / "hq" / "sides.png")
    save(folder / "lq" / "sides.png", 12, 32)
    save(folder / "hq" / "text.png")
    (folder / "lq" / "text.png").write_text("no picture")
    save(folder / "hq" / "small.png", 16, 64)
    save(folder / "lq" / "small.png", 4, 16)
    pairs = find_pairs(config(folder), SIZE, RATIO)
    assert [pair.photo.name for pair in pairs.found] == ["a.png", "b.png", "c.png"]
    told = {path.relative_to(folder).as_posix(): reason for path, reason in pairs.skipped}
    assert told == {
        "hq/alone.png": f"no LQ picture of this name in {folder / 'lq'}",
        "hq/odd.png": f"48 x 64 px is not a multiple of 13 x 16 px in {folder / 'lq'}",
        "hq/sides.png": f"48 x 64 px is not a multiple of 12 x 32 px in {folder / 'lq'}",
        "hq/text.png": f"no LQ picture of this name in {folder / 'lq'}",
        "lq/text.png": "not a picture in a format that Pillow reads",
        "hq/small.png": "16 x 64 px, shorter than 32",
    }


def test_pairs_whose_name_is_not_unique_are_skipped(folder: Path) -> None:
    save(folder / "lq" / "a.jpg", 12, 16)
    save(folder / "hq" / "b.jpg")
    pairs = find_pairs(config(folder), SIZE, RATIO)
    assert [pair.photo.name for pair in pairs.found] == ["c.png"]
    told = {path.relative_to(folder).as_posix(): reason for path, reason in pairs.skipped}
    assert told == {
        "hq/a.png": f"several LQ pictures of this name in {folder / 'lq'}",
        "lq/a.jpg": "a.png has the same name; remove or rename one of them",
        "lq/a.png": "a.jpg has the same name; remove or rename one of them",
        "hq/b.jpg": "b.png has the same name; remove or rename one of them",
        "hq/b.png": "b.jpg has the same name; remove or rename one of them",
    }


def test_sets_of_pairs_that_cannot_be_used_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ratio 4 of the pairs does not divide data.size 30"):
        find_pairs(config(folder), 30, RATIO)
    with pytest.raises(ValueError, match="absent: no such folder"):
        find_pairs(config(folder, lq=str(tmp_path / "absent")), SIZE, RATIO)
    save_pair(folder, "d.png", ratio=2)
    with pytest.raises(ValueError, match="d.png is 2 times smaller than its HQ picture, most pictures are 4 times"):
        find_pairs(config(folder), SIZE, RATIO)
    for path in (folder / "lq").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(ValueError, match="no pair is usable .*a.png: no LQ picture of this name"):
        find_pairs(config(folder), SIZE, RATIO)


def test_partners_may_have_other_formats_and_lie_in_sub_folders(tmp_path: Path) -> None:
    save_pair(tmp_path, "sub/a.png")
    (tmp_path / "lq" / "sub" / "a.png").rename(tmp_path / "lq" / "sub" / "a.bmp")
    Image.open(tmp_path / "lq" / "sub" / "a.bmp").save(tmp_path / "lq" / "sub" / "a.bmp", "BMP")
    item = Crops(config(tmp_path), SIZE, seed=0, training=False)[0, 0]
    assert item["name"] == "sub_a" and item["lq_3hw"].shape == (3, 8, 8)


@pytest.mark.parametrize("side", ["hq", "lq"])
def test_a_damaged_half_costs_the_pair_and_another_takes_its_place(folder: Path, side: str) -> None:
    damage(folder / side / "b.png", 30)
    item = Crops(config(folder), SIZE, seed=0, training=False)[0, 1]
    assert item["unreadable"] == "b.png" and item["name"] == "c"
    assert torch.equal(item["hq_3HW"][:, ::RATIO, ::RATIO], item["lq_3hw"])


def test_the_fingerprint_of_pairs_covers_both_sides(folder: Path) -> None:
    def found(**changes: str) -> str:
        return Crops(config(folder, **changes), SIZE, seed=0, training=False).fingerprint()

    prints = {found(), found(lq=""), found(source="")}
    assert len(prints) == 3 and found() in prints
    with (folder / "lq" / "b.png").open("ab") as file:
        file.write(b"more")
    assert found() not in prints and found(lq="") in prints


def test_the_published_realsr_pairs_fit_each_other(shared: Path) -> None:
    """RealSR as StableSR published it: 100 pairs of 512 and 128 px; a photograph shrunk is near its LQ partner."""
    real = PhotosConfig(source=str(shared / "realsr" / "test_HR"), lq=str(shared / "realsr" / "test_LR"))
    crops = Crops(real, 512, seed=0, training=False)
    assert (len(crops), crops.pairs.ratio, crops.pairs.skipped) == (100, 4, [])
    for index in (0, 57):
        item = crops[0, index]
        shrunk_3hw = torch.nn.functional.avg_pool2d(from_bytes(item["hq_3HW"]), 4)
        assert float((shrunk_3hw - from_bytes(item["lq_3hw"])).abs().mean()) < 0.05
        aside_3hw = torch.nn.functional.avg_pool2d(from_bytes(crops[0, index + 1]["hq_3HW"]), 4)
        assert float((aside_3hw - from_bytes(item["lq_3hw"])).abs().mean()) > 0.1
