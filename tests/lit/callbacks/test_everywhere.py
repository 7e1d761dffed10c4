"""Every callback in a project of somebody else: with both loggers, without any, in fast_dev_run, on two processes."""

import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning import Callback
from lightning.pytorch.trainer import call

from lit_pure.images.io import read_bytes
from lit_pure.lit.callbacks.ema import EMA
from lit_pure.lit.callbacks.loss_history import LossHistory
from lit_pure.lit.callbacks.metrics import RestorationMetrics
from lit_pure.lit.callbacks.pictures import EntropyMap, ImageGrid, TextSamples
from lit_pure.lit.callbacks.progress_bar import TrainingBar
from lit_pure.lit.callbacks.provenance import Provenance
from lit_pure.lit.callbacks.save_pictures import SavePictures
from lit_pure.lit.callbacks.skip_nonfinite import SkipNonFinite
from lit_pure.lit.callbacks.throughput import Throughput
from tests.forks import FORKS, free_port
from tests.lit.callbacks.foreign import Brightener, Plain, loader, loggers, plain_loader, trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*sync_dist=True"),
    pytest.mark.filterwarnings("ignore:Using `DistributedSampler` with the dataloaders"),
]
EVERY = ["history", "progress", "throughput", "provenance", "grid", "entropy", "text", "kept", "metrics"]
TWO = ["provenance", "grid", "entropy", "text", "kept", "metrics", "throughput"]
SOURCES = {"lq": "low", "hq": "high"}


def made(name: str, folder: Path) -> Callback:
    callbacks: dict[str, Any] = {
        "history": LossHistory,
        "progress": TrainingBar,
        "throughput": lambda: Throughput(peak_flops=1e12),
        "provenance": Provenance,
        "grid": ImageGrid,
        "entropy": EntropyMap,
        "text": TextSamples,
        "kept": lambda: SavePictures(folder / "images", keep=3, sources=SOURCES),
        "metrics": lambda: RestorationMetrics(["psnr"]),
    }
    callback: Callback = callbacks[name]()
    return callback


def fit_and_test(folder: Path, names: list[str], **changes: Any) -> list[Callback]:
    callbacks = [made(name, folder) for name in names]
    if "progress" in names:
        changes["enable_progress_bar"] = True
    house = trainer(folder, callbacks, **changes)
    module = Brightener()
    house.fit(module, loader(), loader())
    house.test(module, [loader(), loader(3)], verbose=False)
    return callbacks


@pytest.mark.parametrize("name", EVERY)
def test_each_callback_works_alone_in_a_foreign_module(name: str, tmp_path: Path) -> None:
    fit_and_test(tmp_path, [name])


@pytest.mark.parametrize("changes", ["board", "csv", "none", "dev"])
def test_all_callbacks_work_together_with_any_logger(changes: str, tmp_path: Path) -> None:
    chosen: dict[str, dict[str, Any]] = {
        "board": {"logger": loggers(tmp_path)[0]},
        "csv": {"logger": loggers(tmp_path)[1]},
        "none": {"logger": False},
        "dev": {"fast_dev_run": True},
    }
    fit_and_test(tmp_path, EVERY, **chosen[changes])
    folder = {"none": tmp_path, "dev": None}.get(changes, tmp_path / "run" / "version_0")
    assert [path.parent for path in tmp_path.rglob("provenance.json")] == ([folder] if folder else [])
    restored = {path.name for path in (tmp_path / "images" / "0" / "restored").iterdir()}
    assert len(restored) == (2 if changes == "dev" else 7)


@pytest.mark.parametrize("name", ["grid", "entropy", "text", "kept", "metrics"])
def test_a_module_that_keeps_no_pictures_is_refused_before_it_trains(name: str, tmp_path: Path) -> None:
    kept = {"text": "answers", "entropy": "entropy_Bhw and shown"}.get(name, "shown")
    callback = made(name, tmp_path)
    with pytest.raises(TypeError, match=f"{type(callback).__name__} needs Plain to keep {kept}: set .* in __init__"):
        trainer(tmp_path, [callback]).fit(Plain(), plain_loader())


def test_callbacks_that_need_no_pictures_take_any_module(tmp_path: Path) -> None:
    callbacks = [made(name, tmp_path) for name in ("history", "throughput", "provenance")]
    trainer(tmp_path, callbacks).fit(Plain(), plain_loader())
    history, throughput, _ = callbacks
    assert isinstance(history, LossHistory) and isinstance(throughput, Throughput)
    assert history.row()["steps"] == 3
    assert set(throughput.row()) == {
        f"train/{name}" for name in ("data_wait", "data_made", "images_per_second", "mfu")
    }, "nobody tells tokens"


class Unnumbered(Brightener):
    """Of batches that say nothing of their samples; the number of a picture is to be seen in it."""

    def _look(self, batch: Any) -> None:
        high = batch[0]
        self.shown = {"restored": (high + 10 / 255).clamp(0, 1), "ground truth": high}


def unnumbered(folder: Path, rank: int, world: int, port: int) -> list[float]:
    """Test 7 pictures, each as grey as its number says, on one of several processes; the PSNR."""
    about = {"LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in about.items()}
    torch.set_num_threads(1)
    grey = (torch.arange(7) * 41 / 255)[:, None, None, None].expand(7, 3, 32, 32)  # the last is cut off at white
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(grey), batch_size=2)
    callbacks = [RestorationMetrics(["psnr"]), SavePictures(folder / "images")]
    try:
        house = trainer(folder, [*callbacks], devices=world, strategy="ddp", logger=False)
        house.test(Unnumbered(), data, verbose=False)
    finally:
        torch.distributed.destroy_process_group()
    return [float(house.callback_metrics["test/0/psnr"])]


def process(folder: Path, rank: int, world: int, port: int) -> dict[str, float]:
    """Fit and test on one of several processes; what it says of its speed."""
    about = {"LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in about.items()}
    torch.set_num_threads(1)
    try:
        *_, throughput = fit_and_test(folder, TWO, devices=world, strategy="ddp")
    finally:
        torch.distributed.destroy_process_group()
    assert isinstance(throughput, Throughput)
    return throughput.row()


def left(folder: Path) -> tuple[dict[str, list[float]], dict[str, Path], list[str]]:
    """Scores, pictures and answers."""
    table = pd.read_csv(folder / "run" / "version_0" / "metrics.csv")
    scores = {key: table[key].dropna().tolist() for key in ("val/psnr", "test/0/psnr", "test/1/psnr")}
    paths = {path.relative_to(folder).as_posix(): path for path in sorted((folder / "images").rglob("*/*.png"))}
    return scores, paths, [(folder / "images" / name / "answers.jsonl").read_text() for name in ("0", "1")]


def on_two_processes(function: Callable[[Path, int, int, int], Any], folder: Path) -> list[Any]:
    """What each gives."""
    port = free_port()
    with ProcessPoolExecutor(2, FORKS) as pool:
        return [task.result() for task in [pool.submit(function, folder, rank, 2, port) for rank in range(2)]]


def test_pictures_without_a_number_count_once_and_have_the_number_that_the_sampler_gave(tmp_path: Path) -> None:
    first, second = on_two_processes(unnumbered, tmp_path)
    levels = [min(10, 255 - 41 * number) for number in range(7)]
    expected = sum(-20 * math.log10(219 / 255 * level / 255) for level in levels) / 7
    assert first == second == [pytest.approx(expected, abs=1e-3)], "the first, which comes twice, counts once"
    kept = {path.name: int(read_bytes(path).max()) for path in (tmp_path / "images" / "0" / "restored").iterdir()}
    assert kept == {f"{number:06d}.png": 41 * number + levels[number] for number in range(7)}


def test_two_processes_leave_what_one_leaves(tmp_path: Path) -> None:
    """7 pictures on 2 processes: one comes twice, and must count once."""
    fit_and_test(tmp_path / "one", TWO)
    first, second = on_two_processes(process, tmp_path / "two")
    assert first == second and first["train/images_per_second"] > 0
    scores, images, answers = left(tmp_path / "one")
    scores_of_two, images_of_two, answers_of_two = left(tmp_path / "two")
    for key in scores:
        assert scores[key] == pytest.approx(scores_of_two[key], abs=1e-5), key
    assert answers == answers_of_two
    assert [json.loads(line)["image"] for line in answers[0].splitlines()] == [f"photo{index}" for index in range(7)]
    assert list(images) == list(images_of_two) and len(images) == 7 + 3 + 3 * 4
    assert all((read_bytes(path) == read_bytes(images_of_two[name])).all() for name, path in images.items())
    assert len(list((tmp_path / "two").rglob("provenance.json"))) == 1


def test_checkpoints_older_than_the_names_of_the_classes_are_read(tmp_path: Path) -> None:
    average, skipping = EMA(0.9), SkipNonFinite(tmp_path, limit=3)
    house = trainer(tmp_path, [average, skipping], logger=False)
    stored = {"callbacks": {"Averaging": {"averaged": 7}, "Guard": {"in_a_row": 2}}}
    call._call_callbacks_load_state_dict(house, stored)
    assert (average.state_dict(), skipping.state_dict()) == ({"averaged": 7}, {"in_a_row": 2})
    saved = call._call_callbacks_state_dict(house)
    assert {key: saved[key] for key in stored["callbacks"]} == stored["callbacks"]
