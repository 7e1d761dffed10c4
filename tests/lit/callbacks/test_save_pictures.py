"""The files a test leaves: which, where, and what is in them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lit_pure.images.io import read_bytes, read_image
from lit_pure.lit.callbacks.save_pictures import SavePictures

COLUMNS = {
    name: torch.full((2, 3, 16, 16), level) for name, level in (("LQ", 0.2), ("bicubic", 0.4), ("restored", 1.0))
}


def keep(
    folder: Path, batches: list[Any], columns: dict[str, torch.Tensor] | None = None, **options: Any
) -> SavePictures:
    trainer: Any = SimpleNamespace(is_global_zero=True, world_size=1, global_rank=0)
    module: Any = SimpleNamespace(shown=COLUMNS if columns is None else columns, answers=[])
    kept = SavePictures(folder, **options)
    kept.on_test_start(trainer, module)
    for number, batch in enumerate(batches):
        names = batch["name"] if isinstance(batch, dict) and "name" in batch else ["?", "?"]
        module.answers = [{"image": name, "answer": "größer"} for name in names]
        kept.on_test_batch_end(trainer, module, None, batch, number)
    kept.on_test_epoch_end(trainer, module)
    return kept


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def ours(first: int) -> dict[str, Any]:
    """A batch as ours are; HQ tells the picture's number."""
    number_B = torch.tensor([first, first + 1])
    return {
        "name": [f"p{number}" for number in number_B.tolist()],
        "index": number_B,
        "unreadable": ["", ""],
        "lq_B3hw": torch.full((2, 3, 4, 4), 0.5),
        "hq_B3HW": number_B[:, None, None, None].expand(2, 3, 16, 16) / 255,
    }


def test_saved_test_pictures_have_a_folder_per_set_and_kind(tmp_path: Path) -> None:
    kept = keep(tmp_path, [ours(2), ours(0), ours(4)], sets=["web"], keep=3)
    assert files(tmp_path) == [
        *("web/answers.jsonl", "web/hq/p0.png", "web/hq/p1.png", "web/hq/p2.png"),
        *("web/lq/p0.png", "web/lq/p1.png", "web/lq/p2.png"),
        *(f"web/restored/p{number}.png" for number in range(6)),
        *("web_0.png", "web_1.png"),
    ]
    assert kept.written == [tmp_path / "web_0.png", tmp_path / "web_1.png"]
    assert (
        int(read_bytes(tmp_path / "web/hq/p2.png").max()) == 2 and read_bytes(tmp_path / "web/lq/p1.png").shape[1] == 4
    )
    assert float(read_image(tmp_path / "web/restored/p3.png").min()) == 1
    text = (tmp_path / "web/answers.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == [
        {"image": f"p{number}", "answer": "größer"} for number in range(6)
    ], "in the order of the set"
    assert "größer" in text


def test_without_ground_truth_the_saved_grid_is_narrower(tmp_path: Path) -> None:
    batch = {key: value for key, value in ours(0).items() if key != "hq_B3HW"}
    without = keep(tmp_path / "a", [batch])
    with_truth = keep(tmp_path / "b", [ours(0)], {**COLUMNS, "ground truth": COLUMNS["restored"]})
    assert not (tmp_path / "a/0/hq").exists() and (tmp_path / "b/0/hq").is_dir()
    assert read_image(without.written[0]).shape[2] < read_image(with_truth.written[0]).shape[2]


def test_the_stand_in_for_an_unreadable_photograph_is_not_saved(tmp_path: Path) -> None:
    keep(tmp_path, [{**ours(0), "unreadable": ["", "p1.jpg"], "name": ["p0", "p2"]}, ours(2)])
    assert [path.name for path in sorted((tmp_path / "0/restored").iterdir())] == ["p0.png", "p2.png", "p3.png"]
    lines = (tmp_path / "0/answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["p0", "p2", "p3"]
    assert int(read_bytes(tmp_path / "0/hq/p2.png").max()) == 2, "not that of the stand-in"


@pytest.mark.parametrize("batch", [torch.zeros(2, 3), {"pixels": torch.zeros(2, 3)}, (torch.zeros(2), None)])
def test_batches_without_names_are_numbered_as_a_sampler_deals_them(batch: Any, tmp_path: Path) -> None:
    columns = {"reconstructed": COLUMNS["restored"]}
    trainer: Any = SimpleNamespace(is_global_zero=False, world_size=3, global_rank=1)
    kept, module = SavePictures(tmp_path), SimpleNamespace(shown=columns)
    for number in range(2):
        kept.on_test_batch_end(trainer, module, None, batch, number)  # type: ignore[arg-type]
    assert files(tmp_path) == [f"0/reconstructed/{place:06d}.png" for place in (1, 4, 7, 10)]


def test_samples_that_a_sampler_repeats_are_saved_once(tmp_path: Path) -> None:
    """7 pictures on 2 processes: the second one's last is the set's first again."""
    photos = torch.utils.data.TensorDataset(torch.zeros(7, 1))
    dealt = torch.utils.data.DistributedSampler(photos, num_replicas=2, rank=1, shuffle=False)
    data = torch.utils.data.DataLoader(photos, batch_size=2, sampler=dealt)
    trainer: Any = SimpleNamespace(is_global_zero=False, world_size=2, global_rank=1, test_dataloaders=data)
    kept, module = SavePictures(tmp_path), SimpleNamespace(shown={"restored": COLUMNS["restored"]})
    for number, batch in enumerate(data):
        kept.on_test_batch_end(trainer, module, None, batch, number)  # type: ignore[arg-type]
    assert files(tmp_path) == [f"0/restored/{place:06d}.png" for place in (1, 3, 5)]


def test_pictures_whose_names_are_paths_stay_inside_the_folder(tmp_path: Path) -> None:
    keep(tmp_path / "images", [{**ours(0), "name": ["../../up", "set/photo"]}], keep=1, sources={})
    assert files(tmp_path) == [
        "images/0/answers.jsonl",
        *(f"images/0/restored/{name}.png" for name in (".._.._up", "set_photo")),
        "images/0_0.png",
    ]


def test_a_module_without_pictures_saves_nothing(tmp_path: Path) -> None:
    assert not keep(tmp_path, [ours(0)], {}).written and not files(tmp_path)
