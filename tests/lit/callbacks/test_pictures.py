"""What TensorBoard is told: when, under which names, and whether it is the right picture."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.images.grid import HEADER, labelled_grid
from lit_pure.images.io import to_bytes
from lit_pure.images.maps import LEGEND, legend
from lit_pure.lit.callbacks.board import markdown
from lit_pure.lit.callbacks.pictures import EntropyMap, ImageGrid, TextSamples
from tests.lit.callbacks.foreign import Brightener, events, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Brightener]:
    """A training with two validations, then a test of a set with a name and one without."""
    folder, module = tmp_path_factory.mktemp("shown"), Brightener()
    callbacks = [ImageGrid(["hard"]), EntropyMap(["hard"]), TextSamples(["hard"])]
    house = trainer(folder, [*callbacks], max_epochs=2, num_sanity_val_steps=2)
    house.fit(module, loader(), loader())
    house.test(module, [loader(4), loader(2)], verbose=False)
    return folder, module


def test_validations_and_every_batch_of_a_test_are_shown_but_no_sanity_check(shown: tuple[Path, Brightener]) -> None:
    told, grid = events(shown[0]), "LQ | restored | ground truth"
    assert set(told.Tags()["images"]) == {
        f"{at}/{tag}" for at in ("val", "test_hard", "test_1") for tag in (grid, "entropy")
    }
    for tag in (grid, "entropy"):
        assert [event.step for event in told.Images(f"val/{tag}")] == [4, 8]
        assert [event.step for event in told.Images(f"test_hard/{tag}")] == [0, 1]
        assert [event.step for event in told.Images(f"test_1/{tag}")] == [0]
    assert [event.step for event in told.Tensors("val/answers/text_summary")] == [4, 8]


def test_the_grid_is_what_the_module_kept_last(shown: tuple[Path, Brightener]) -> None:
    folder, module = shown
    (event,) = events(folder).Images("test_1/LQ | restored | ground truth")
    with Image.open(io.BytesIO(event.encoded_image_string)) as file:
        found = torch.from_numpy(np.array(file)).permute(2, 0, 1)
    expected = to_bytes(labelled_grid(module.shown))
    assert int((found.int() - expected.int()).abs().max()) <= 1  # TensorBoard cuts where we round


def test_answer_texts_are_a_markdown_table_for_each_picture_whatever_they_contain(
    shown: tuple[Path, Brightener],
) -> None:
    (event,) = events(shown[0]).Tensors("test_1/answers/text_summary")
    lines = event.tensor_proto.string_val[0].decode().splitlines()
    assert lines == [
        "| image | photo0 |",
        "| --- | --- |",
        "| answer | I see \\| photo0 |",
        "| blur | (none) |",
        "",
        "| image | photo1 |",
        "| --- | --- |",
        "| answer | I see \\| photo1 |",
        "| blur | (none) |",
    ]
    assert markdown([]) == "" and markdown([{"a": "two\nlines"}]).splitlines()[-1] == "| two lines |"


def test_all_entropy_maps_of_a_module_with_a_highest_one_have_the_same_scale(tmp_path: Path) -> None:
    module = Brightener()
    module.entropy_highest = 4.0  # type: ignore[assignment]
    trainer(tmp_path, [EntropyMap()]).test(module, loader(4), verbose=False)
    shown = events(tmp_path).Images("test_0/entropy")
    legends = []
    for event in shown:
        with Image.open(io.BytesIO(event.encoded_image_string)) as file:
            legends.append(np.array(file)[:, -LEGEND:])
    assert len(legends) == 2 and np.array_equal(*legends), "the second batch has other numbers"
    drawn = to_bytes(legend(0.0, 4.0, "nats", 32)).permute(1, 2, 0).numpy()
    assert int(np.abs(legends[0][HEADER : HEADER + 32].astype(int) - drawn).max()) <= 1


def test_only_the_first_batches_of_a_large_test_set_are_shown(tmp_path: Path) -> None:
    house = trainer(tmp_path, [ImageGrid(keep=3), EntropyMap(keep=3), TextSamples(keep=3)])
    house.test(Brightener(), loader(7), verbose=False)
    told = events(tmp_path)
    for tag in ("LQ | restored | ground truth", "entropy"):
        assert [event.step for event in told.Images(f"test_0/{tag}")] == [0, 1], "of those that begin with 0, 2, 4, 6"
    assert [event.step for event in told.Tensors("test_0/answers/text_summary")] == [0, 1]


def test_a_module_without_pictures_shows_nothing(tmp_path: Path) -> None:
    module = Brightener()
    module._look = lambda batch: None  # type: ignore[method-assign]
    house = trainer(tmp_path, [ImageGrid(), EntropyMap(), TextSamples()])
    house.test(module, loader(), verbose=False)
    assert not events(tmp_path).Tags()["images"] and not events(tmp_path).Tags()["tensors"]


def test_a_table_for_tensorboard_is_utf8_whatever_the_names_are() -> None:
    text = markdown([{"image": "caf\udce9", "caption": "\u5199"}])
    assert "| caf\\udce9 | \u5199 |" in text and text.encode()
