"""Which photographs, which crops, in which order; and calm about damaged files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.photos import SKIMAGE_PHOTOS, Crops, EpochSampler, find_photos, fingerprint

SIZE = 32


def save(path: Path, height: int = 48, width: int = 64) -> None:
    """A picture in which every pixel tells where it is."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = np.arange(height)[:, None], np.arange(width), ord(path.stem[0])
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        save(tmp_path / f"{name}.png")
    return tmp_path


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


def test_skimage_photos_are_all_there() -> None:
    photos = find_photos(PhotosConfig(), 128)
    assert [path.name for path in photos.paths] == list(SKIMAGE_PHOTOS) and photos.skipped == []
    large = find_photos(PhotosConfig(), 512)
    assert [path.stem for path in large.paths] == ["astronaut", "hubble_deep_field", "ihc", "retina"]
    assert all("shorter than 512" in reason for _, reason in large.skipped) and len(large.skipped) == 5


def test_names_choose_and_typos_are_met_with_near_names() -> None:
    assert [p.stem for p in find_photos(PhotosConfig(names=["rocket", "chelsea"]), 128).paths] == ["chelsea", "rocket"]
    with pytest.raises(ValueError, match="chelsae.*near: chelsea"):
        find_photos(PhotosConfig(names=["chelsae"]), 128)


def test_bad_files_are_skipped_with_a_reason(folder: Path) -> None:
    (folder / "text.png").write_text("no picture")
    save(folder / "small.png", 16, 64)
    photos = find_photos(PhotosConfig(source=str(folder)), SIZE)
    assert [path.name for path in photos.paths] == ["a.png", "b.png", "c.png"]
    reasons = {path.name: reason for path, reason in photos.skipped}
    assert "not a picture" in reasons["text.png"] and "16 x 64" in reasons["small.png"]


def test_none_left_names_the_reasons(folder: Path) -> None:
    with pytest.raises(ValueError, match="a.png: 48 x 64 px, shorter than 512"):
        find_photos(PhotosConfig(source=str(folder)), 512)
    with pytest.raises(ValueError, match="no such folder"):
        find_photos(PhotosConfig(source=str(folder / "absent")), SIZE)


def test_an_item(folder: Path) -> None:
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
    sampler = EpochSampler(len(crops), seed=1, shuffle=True)
    sampler.set_epoch(4)
    alone, together = (
        list(DataLoader(crops, batch_size=2, sampler=sampler, num_workers=workers)) for workers in (0, 2)
    )
    assert len(alone) == len(together) == 3
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one["hq_3HW"], two["hq_3HW"]) and one["name"] == two["name"]
        assert one["caption"] == two["caption"] and one["epoch"].tolist() == [4, 4]


def test_fixed_crops_are_spread_and_the_first_is_the_centre(folder: Path) -> None:
    config = PhotosConfig(source=str(folder), crops=4)
    crops = Crops(config, SIZE, seed=1, training=False)
    corners = [tuple(crops[0, index]["hq_3HW"][:2, 0, 0].tolist()) for index in range(4)]
    assert corners[0] == (8, 16)  # half of the free 16 and 32 px
    assert len(set(corners)) == 4
    assert corners == [tuple(crops[9, index]["hq_3HW"][:2, 0, 0].tolist()) for index in range(4)]
    single = Crops(PhotosConfig(source=str(folder)), SIZE, seed=7, training=False)
    assert torch.equal(single[0, 0]["hq_3HW"], crops[0, 0]["hq_3HW"]) and single[0, 0]["name"] == "a"


def test_a_photo_of_exactly_the_crop_size(tmp_path: Path) -> None:
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


def test_a_sidecar_must_have_every_photo(folder: Path) -> None:
    sidecar = folder / "captions.jsonl"
    sidecar.write_text('{"image": "a.png", "caption": "first"}\n{"image": "b", "caption": "second"}\n')
    config = PhotosConfig(source=str(folder), captions=str(sidecar))
    with pytest.raises(ValueError, match=r"captions.jsonl: no caption for c.png; add"):
        Crops(config, SIZE, seed=0, training=True)
    config.names = ["a", "b"]
    crops = Crops(config, SIZE, seed=0, training=True)
    assert [crops[0, index]["caption"] for index in range(2)] == ["first", "second"]


def test_sampler_orders() -> None:
    sampler = EpochSampler(10, seed=3, shuffle=True)
    first = list(sampler)
    assert sorted(first) == [(0, index) for index in range(10)] and first == list(sampler) and len(sampler) == 10
    sampler.set_epoch(1)
    second = list(sampler)
    assert {epoch for epoch, _ in second} == {1} and [i for _, i in second] != [i for _, i in first]
    assert [i for _, i in EpochSampler(10, seed=4, shuffle=True)] != [i for _, i in first]
    assert list(EpochSampler(3, seed=0, shuffle=False)) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize(("length", "world"), [(10, 2), (10, 3), (2, 5)])
def test_processes_share_an_epoch(length: int, world: int) -> None:
    parts = [list(EpochSampler(length, seed=3, shuffle=True, rank=rank, world=world)) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1 and len(parts[0]) == -(-length // world)
    assert {key for part in parts for key in part} == {(0, index) for index in range(length)}
    alone = list(EpochSampler(length, seed=3, shuffle=True))
    dealt = [parts[place % world][place // world] for place in range(length)]
    assert dealt == alone  # a global step takes the same crops whatever the number of processes


def test_sampler_refuses() -> None:
    with pytest.raises(ValueError, match="0 crops"):
        EpochSampler(0, seed=0, shuffle=True)
    with pytest.raises(ValueError, match="rank 2"):
        EpochSampler(4, seed=0, shuffle=True, rank=2, world=2)


def test_fingerprint_follows_names_and_sizes(folder: Path) -> None:
    paths = find_photos(PhotosConfig(source=str(folder)), SIZE).paths
    before = fingerprint(paths)
    assert len(before) == 64 and fingerprint(paths[::-1]) == before != fingerprint(paths[1:])
    damage(folder / "b.png")
    assert fingerprint(paths) != before
