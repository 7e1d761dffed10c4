"""Which crops are taken, and that damaged files do not stop a training."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.order import Stream
from lit_pure.datasets.photos import Crops
from tests.datasets.pictures import damage, save

SIZE = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        save(tmp_path / f"{name}.png")
    return tmp_path


def test_a_crop_has_pixels_a_name_its_place_in_the_order_and_a_caption(folder: Path) -> None:
    crops = Crops(PhotosConfig(source=str(folder), crops=2), SIZE, seed=1, training=True)
    item = crops[3, 5]
    assert len(crops) == 6
    assert {key: item[key] for key in ("name", "epoch", "index", "unreadable")} == {
        "name": "c_c1",
        "epoch": 3,
        "index": 5,
        "unreadable": "",
    }
    assert item["hq_3HW"].shape == (3, SIZE, SIZE) and item["hq_3HW"].dtype == torch.uint8
    assert (item["hq_3HW"][2] == ord("c")).all() and len(item["caption"].split()) > 10
    with pytest.raises(IndexError, match="crop 6 of 6"):
        crops[0, 6]


def test_training_crops_depend_on_seed_epoch_and_index_only(folder: Path) -> None:
    config = PhotosConfig(source=str(folder))
    crops = Crops(config, SIZE, seed=1, training=True)
    keys = [(epoch, index) for epoch in range(6) for index in range(3)]
    forward = {key: crops[key]["hq_3HW"] for key in keys}
    again = Crops(config, SIZE, seed=1, training=True)
    assert all(torch.equal(again[key]["hq_3HW"], forward[key]) for key in reversed(keys))
    other = Crops(config, SIZE, seed=2, training=True)
    assert any(not torch.equal(other[key]["hq_3HW"], forward[key]) for key in keys)
    corners = {
        (int(crop[0, 0, 0]), int(crop[1, 0, 0]), bool(crop[1, 0, 0] > crop[1, 0, 1])) for crop in forward.values()
    }
    assert len(corners) > 12 and {flipped for *_, flipped in corners} == {True, False}


def test_two_workers_see_what_one_process_sees(folder: Path) -> None:
    crops = Crops(PhotosConfig(source=str(folder), crops=2), SIZE, seed=1, training=True)
    alone, together = (
        iter(DataLoader(crops, batch_size=2, sampler=Stream(len(crops), seed=1, start=22), num_workers=workers))
        for workers in (0, 2)
    )
    for _ in range(5):
        one, two = next(alone), next(together)
        assert torch.equal(one["hq_3HW"], two["hq_3HW"]) and one["name"] == two["name"]
        assert one["caption"] == two["caption"] and torch.equal(one["epoch"], two["epoch"])


def test_fixed_crops_are_spread_and_the_first_is_the_centre(folder: Path) -> None:
    config = PhotosConfig(source=str(folder), crops=4)
    crops = Crops(config, SIZE, seed=1, training=False)
    corners = [tuple(crops[0, index]["hq_3HW"][:2, 0, 0].tolist()) for index in range(4)]
    assert corners[0] == (8, 16)  # half of the free 16 and 32 px
    assert len(set(corners)) == 4
    assert corners == [tuple(crops[9, index]["hq_3HW"][:2, 0, 0].tolist()) for index in range(4)]
    single = Crops(PhotosConfig(source=str(folder)), SIZE, seed=7, training=False)
    assert torch.equal(single[0, 0]["hq_3HW"], crops[0, 0]["hq_3HW"]) and single[0, 0]["name"] == "a"


def test_a_photo_of_exactly_the_crop_size_is_taken_whole(tmp_path: Path) -> None:
    save(tmp_path / "a.png", SIZE, SIZE)
    for training in (True, False):
        crops = Crops(PhotosConfig(source=str(tmp_path), crops=3), SIZE, seed=0, training=training)
        assert all(int(crops[0, index]["hq_3HW"][0, -1, 0]) == SIZE - 1 for index in range(3))


def test_damaged_photos_are_replaced_and_named(folder: Path) -> None:
    for name in "bc":
        damage(folder / f"{name}.png")
    crops = Crops(PhotosConfig(source=str(folder)), SIZE, seed=1, training=True)
    item = crops[0, 1]
    assert item["unreadable"] == "b.png;c.png" and item["name"] == "a" and (item["hq_3HW"][2] == ord("a")).all()
    assert torch.equal(crops[0, 1]["hq_3HW"], item["hq_3HW"])
    damage(folder / "a.png")
    with pytest.raises(ValueError, match="b.png, c.png, a.png"):
        Crops(PhotosConfig(source=str(folder)), SIZE, seed=1, training=True)[0, 1]


def test_a_caption_file_must_have_every_photo(folder: Path) -> None:
    sidecar = folder / "captions.jsonl"
    sidecar.write_text('{"image": "a.png", "caption": "first"}\n{"image": "b", "caption": "second"}\n')
    config = PhotosConfig(source=str(folder), captions=str(sidecar))
    with pytest.raises(ValueError, match=r"captions.jsonl: no caption for c.png; add"):
        Crops(config, SIZE, seed=0, training=True)
    config.names = ["a", "b"]
    crops = Crops(config, SIZE, seed=0, training=True)
    assert [crops[0, index]["caption"] for index in range(2)] == ["first", "second"]


@pytest.mark.parametrize("other", ["a/b.jpg", "a_b.png"])
def test_pictures_of_one_label_are_refused_unless_training(tmp_path: Path, other: str) -> None:
    for name in ("a/b.png", other):
        save(tmp_path / name)
    config = PhotosConfig(source=str(tmp_path), crops=2)
    assert len(Crops(config, SIZE, seed=0, training=True)) == 4
    with pytest.raises(ValueError, match="would be named a_b; rename one of them") as caught:
        Crops(config, SIZE, seed=0, training=False)
    assert all(str(tmp_path / name) in str(caught.value) for name in ("a/b.png", other))


def test_a_name_too_long_for_its_pictures_is_refused_before_any_training(tmp_path: Path) -> None:
    save(tmp_path / "in" / ("a" * 128) / f"{'b' * 128}.png")
    config = PhotosConfig(source=str(tmp_path / "in"))
    with pytest.raises(ValueError, match="bytes too long for a file's name; rename it"):
        Crops(config, SIZE, 0, training=False)
    assert len(Crops(config, SIZE, 0, training=True)) == 1


def test_a_list_that_lies_about_a_size_costs_that_photograph_only(folder: Path) -> None:
    save(folder / "b.png", 20, 64)
    (folder / "list.txt").write_text("a.png (48,64,3)\nb.png (48,64,3)\nc.png\n")
    crops = Crops(PhotosConfig(source=str(folder), meta_info=str(folder / "list.txt")), SIZE, seed=1, training=True)
    item = crops[0, 1]
    assert item["unreadable"] == "b.png" and item["name"] == "c"


def test_a_photo_that_is_removed_while_training_is_replaced_and_named(folder: Path) -> None:
    crops = Crops(PhotosConfig(source=str(folder)), SIZE, seed=1, training=True)
    (folder / "a.png").unlink()
    item = crops[0, 0]
    assert item["unreadable"] == "a.png" and item["name"] == "b"
