"""The data module: the same (seed, epoch, index) gives the same LQ however it is batched, dealt out or resumed."""

import multiprocessing
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from PIL import Image

from lit_pure.config.data import DataConfig, DegradationConfig, PhotosConfig
from lit_pure.config.dem import DemConfig
from lit_pure.datasets.order import Stream
from lit_pure.datasets.shards import write_shards
from lit_pure.datasets.sources import find_photos
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.files import sharing
from lit_pure.images.io import from_bytes, read_image
from lit_pure.lit.data import Batch, DegradationPairs, DegradeAndScore, PhotoDataModule, StreamPosition, generators

Seen = dict[tuple[int, int], bytes]
"""LQ pixels by (epoch, index)."""


@pytest.fixture
def photos(tmp_path: Path) -> PhotosConfig:
    random = np.random.default_rng(0)
    for name in "abc":
        pixels = random.integers(0, 255, (70, 80, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    return PhotosConfig(source=str(tmp_path / "photos"), crops=4)


def module(photos: PhotosConfig, batch_size: int, workers: int = 0, dem: bool = False) -> PhotoDataModule:
    data = DataConfig(size=64, train=photos, val=photos, test={"b": photos, "a": photos}, batch_size=batch_size)
    data.num_workers, data.eval_batch_size = workers, batch_size
    estimator = None
    if dem:
        estimator = DegradationEstimator(DemConfig(features=[4], blocks=[1], downscales=[1])).eval()
        estimator.calibrate(torch.rand(30, 2, generator=torch.Generator().manual_seed(0)))
    return PhotoDataModule(data, 5, DegradeAndScore(DegradationConfig(), estimator, tile=16))


def ready(data: PhotoDataModule, loader: Any, batches: int) -> Iterator[Batch]:
    for raw in islice(loader, batches):
        yield data.on_after_batch_transfer(raw, 0)


def by_key(data: PhotoDataModule, loader: Any, batches: int) -> Seen:
    found: Seen = {}
    for batch in ready(data, loader, batches):
        keys = zip(batch["epoch"].tolist(), batch["index"].tolist(), strict=True)
        found |= {key: lq.numpy().tobytes() for key, lq in zip(keys, batch["lq_B3hw"], strict=True)}
    return found


def trained_on(data: PhotoDataModule, samples: int = 24) -> Seen:
    """The first samples of the training: two epochs of 12."""
    return by_key(data, data.train_dataloader(), samples // data.config.batch_size)


@pytest.fixture
def reference(photos: PhotosConfig) -> Seen:
    """One by one, straight from the data set: no loader, no batch, in reversed order."""
    data = module(photos, batch_size=1)
    found: Seen = {}
    for key in reversed([(epoch, index) for epoch in (0, 1) for index in range(12)]):
        item = data.train[key]
        batch: Batch = {"epoch": torch.tensor([key[0]]), "index": torch.tensor([key[1]])}
        batch["hq_B3HW"] = from_bytes(item["hq_3HW"])[None]
        found[key] = data.transform(batch, generators(5, batch, 1))["lq_B3hw"][0].numpy().tobytes()
    assert len(set(found.values())) == 24, "every draw is another"
    return found


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 1), (4, 0), (4, 2)])
def test_a_sample_is_the_same_in_any_batch_and_with_any_workers(
    photos: PhotosConfig, reference: Seen, batch_size: int, workers: int
) -> None:
    assert trained_on(module(photos, batch_size, workers)) == reference


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_is_the_same_whoever_degrades_it(photos: PhotosConfig, reference: Seen, workers: int) -> None:
    data = module(photos, 4, workers)
    data.config.degrade_in = "workers"
    (raw,) = islice(data.train_dataloader(), 1)
    assert raw["lq_3hw"].dtype == torch.uint8 and raw["lq_3hw"].shape == (4, 3, 16, 16)
    assert trained_on(data) == reference


def test_a_sample_is_the_same_without_shuffling(photos: PhotosConfig, reference: Seen) -> None:
    data = module(photos, batch_size=5)
    loader = data._loader(data.train, 5, [(0, index) for index in range(12)])  # type: ignore[arg-type]
    assert by_key(data, loader, 3).items() <= reference.items()


def test_two_processes_share_the_samples_of_one(photos: PhotosConfig, reference: Seen) -> None:
    data = module(photos, batch_size=3)
    ranks = [by_key(data, data._loader(data.train, 3, Stream(12, 5, 0, rank, 2)), 4) for rank in (0, 1)]
    assert not ranks[0].keys() & ranks[1].keys() and ranks[0] | ranks[1] == reference


def test_a_folder_a_list_and_shards_of_it_give_the_same(photos: PhotosConfig, reference: Seen, tmp_path: Path) -> None:
    found = find_photos(photos, 64).found
    (tmp_path / "list.txt").write_text("c.png (70,80,3)\na.png\nb.png (70,80,3)\n")
    write_shards(found, tmp_path / "shards", shard_bytes=30_000)
    assert len(list((tmp_path / "shards").glob("*.tar"))) > 1
    listed = PhotosConfig(source=photos.source, meta_info=str(tmp_path / "list.txt"), crops=4)
    sharded = PhotosConfig(source=str(tmp_path / "shards"), crops=4)
    prints = module(photos, 4).fingerprints()
    for config, workers in ((listed, 0), (sharded, 2)):
        data = module(config, 4, workers)
        assert trained_on(data) == reference and data.fingerprints() == prints


class Watcher(LightningModule):
    """Learns nothing and remembers what it is shown, and which optimizer step that belonged to."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.fail_at = fail_at
        self.seen: list[tuple[int, int, int, bytes]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        if len(self.seen) == self.fail_at:
            raise RuntimeError("out of order")
        for epoch, index, lq in zip(batch["epoch"].tolist(), batch["index"].tolist(), batch["lq_B3hw"], strict=True):
            self.seen.append((self.global_step, epoch, index, lq.numpy().tobytes()))
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        assert batch["epoch"].tolist() == [0] * len(batch["name"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(
    data: PhotoDataModule,
    folder: Path,
    steps: int,
    accumulate: int = 1,
    resume: Path | None = None,
    every: int = 5,
    watcher: Watcher | None = None,
) -> Watcher:
    watcher = watcher or Watcher()
    trainer = Trainer(
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        val_check_interval=4 * accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=every),
            OnExceptionCheckpoint(folder, "killed"),
        ],
    )
    trainer.fit(watcher, data, ckpt_path=resume, weights_only=False)
    return watcher


@pytest.mark.parametrize("step", [4, 5, 6, 8])
def test_a_resumed_training_sees_what_the_uninterrupted_one_saw(
    photos: PhotosConfig, tmp_path: Path, step: int
) -> None:
    """Twelve samples, batches of four by two accumulated: step 4 and 8 validate, step 6 ends an epoch, 5 is within."""
    whole = fit(module(photos, 2), tmp_path / "whole", 10, accumulate=2, every=1)
    assert len(whole.seen) == 40 and [key[1:3] for key in whole.seen] == list(islice(Stream(12, 5), 40))
    checkpoint = tmp_path / "whole" / f"step={step}.ckpt"
    resumed = fit(module(photos, 2), tmp_path / "resumed", 10, accumulate=2, resume=checkpoint)
    assert resumed.seen == [sample for sample in whole.seen if sample[0] >= step]


def test_resuming_with_other_batches_neither_repeats_nor_skips(photos: PhotosConfig, tmp_path: Path) -> None:
    """Batches of three, then of two accumulated thrice, then of one with workers: one stream of samples."""
    first = fit(module(photos, 3), tmp_path / "a", 5)
    second = fit(module(photos, 2), tmp_path / "b", 7, 3, tmp_path / "a" / "step=5.ckpt", every=7)
    third = fit(module(photos, 1, workers=2), tmp_path / "c", 12, 1, tmp_path / "b" / "step=7.ckpt")
    seen = [key[1:3] for watcher in (first, second, third) for key in watcher.seen]
    assert len(first.seen) == 15 and len(third.seen) == 5
    assert seen == list(islice(Stream(12, 5), len(seen)))


def test_half_a_step_is_taken_up_again(photos: PhotosConfig, tmp_path: Path) -> None:
    """Killed in the second of three batches of step 4: its gradients are lost, so its samples come again."""
    before = Watcher(fail_at=3 * 6 + 2)
    with pytest.raises(RuntimeError, match="out of order"):
        fit(module(photos, 2), tmp_path, 10, 3, watcher=before)
    after = fit(module(photos, 2), tmp_path, 5, 3, tmp_path / "killed.ckpt")
    assert len(before.seen) == 20
    assert [key[1:3] for key in after.seen] == list(islice(Stream(12, 5, start=18), len(after.seen)))


def test_the_position_counts_all_processes_and_whole_steps() -> None:
    position = StreamPosition(100)
    assert position.samples_after(7) == 100
    position.advance(8, 7)
    position.advance(8, 7)
    assert (position.samples, position.samples_after(7), position.samples_after(8)) == (116, 100, 116)
    position.advance(8, 8)
    assert (position.samples_after(8), position.samples_after(9)) == (116, 124)


def test_a_checkpoint_of_other_photographs_is_told(
    photos: PhotosConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(module(photos, 3), tmp_path / "a", 5)
    fit(module(photos, 3), tmp_path / "b", 6, resume=tmp_path / "a" / "step=5.ckpt")
    assert "differ from those of the checkpoint" not in caplog.text
    photos.names = ["a", "b"]
    fit(module(photos, 3), tmp_path / "c", 6, resume=tmp_path / "a" / "step=5.ckpt")
    assert "differ from those of the checkpoint" in caplog.text


def test_the_test_sees_the_same_pictures_every_time(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=12)
    first, again = (next(ready(data, data.test_dataloader()[0], 1)) for _ in range(2))
    assert torch.equal(first["lq_B3hw"], again["lq_B3hw"]) and first["index"].tolist() == list(range(12))


def test_a_batch_on_the_device_keeps_the_pixel_contract(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=3, dem=True)
    batch = next(ready(data, data.val_dataloader(), 1))
    assert batch["hq_B3HW"].dtype == torch.float32 and batch["hq_B3HW"].shape == (3, 3, 64, 64)
    assert batch["lq_B3hw"].shape == (3, 3, 16, 16)
    assert 0 <= float(batch["lq_B3hw"].min()) and float(batch["lq_B3hw"].max()) <= 1
    assert isinstance(data.transform, DegradeAndScore) and data.transform.dem is not None
    assert batch["labels"] == data.transform.dem.labels(data.transform.dem(batch["lq_B3hw"]))


@pytest.mark.parametrize("hq", [True, False])
def test_given_lq_is_used_as_it_is_and_labelled(photos: PhotosConfig, tmp_path: Path, hq: bool) -> None:
    (tmp_path / "lq").mkdir()
    for name in "abc":
        with Image.open(Path(photos.source) / f"{name}.png") as file:
            file.crop((0, 0, 80, 70)).resize((40, 35)).save(tmp_path / "lq" / f"{name}.png")
    data = module(photos, batch_size=3, dem=True)
    test = {"real": PhotosConfig(source=photos.source if hq else "", lq=str(tmp_path / "lq"))}
    config = DataConfig(size=64, train=photos, val=photos, test=test, degradation=DegradationConfig(scale=2))
    data = PhotoDataModule(config, 5, data.transform, trains=False)
    batch = next(ready(data, data.test_dataloader()[0], 1))
    assert ("hq_B3HW" in batch) == hq and batch["lq_B3hw"].shape == (3, 3, 32, 32)
    whole = read_image(tmp_path / "lq" / "b.png")
    assert torch.equal(batch["lq_B3hw"][1], whole[:, 2:34, 4:36])
    assert isinstance(data.transform, DegradeAndScore) and data.transform.dem is not None
    assert batch["labels"] == data.transform.dem.labels(data.transform.dem(batch["lq_B3hw"]))


def test_workers_leave_given_lq_and_other_transforms_alone(photos: PhotosConfig, tmp_path: Path) -> None:
    for transform in (DegradeAndScore(DegradationConfig(), None), DegradationPairs(DegradationConfig())):
        data = module(photos, batch_size=3)
        data.transform, data.config.degrade_in = transform, "workers"
        assert ("lq_3hw" in next(iter(data.val_dataloader()))) == isinstance(transform, DegradeAndScore)
    shutil.copytree(photos.source, tmp_path / "lq")
    given = {"real": PhotosConfig(source=photos.source, lq=str(tmp_path / "lq"))}
    config = DataConfig(size=64, train=photos, val=photos, test=given, degrade_in="workers")
    data = PhotoDataModule(config, 5, DegradeAndScore(DegradationConfig(), None), trains=False)
    batch = next(iter(data.test_dataloader()[0]))
    assert torch.equal(batch["lq_3hw"], batch["hq_3HW"])


def test_only_training_crops_are_random(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=3)
    assert data.config.train is data.config.val, "one description may serve several sets"
    assert (data.train.training, data.val.training, data.test["a"].training) == (True, False, False)


def test_sets_have_names_in_order_and_fingerprints(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=3)
    assert list(data.test) == ["a", "b"]
    prints = data.fingerprints()
    assert set(prints) == {"train", "val", "test/a", "test/b"} and len(prints["train"]) == 64


def test_unreadable_photographs_are_named_once(photos: PhotosConfig, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(photos.source) / "b.png"
    path.write_bytes(path.read_bytes()[:2000])
    data = module(photos, batch_size=12)
    with caplog.at_level("WARNING"):
        for _ in range(2):
            next(ready(data, data.val_dataloader(), 1))
    assert caplog.text.count("skipped b.png") == 1
    assert data.skipped() == ["b.png: cannot be decoded"]


def test_pairs_for_the_dem(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=2)
    data.transform = DegradationPairs(DegradationConfig())
    batch = next(ready(data, data.val_dataloader(), 1))
    assert batch["pairs"].lq_24B3hw.shape == (2, 4, 2, 3, 16, 16)


@pytest.mark.parametrize("rank", [0, 1])
def test_each_of_two_processes_takes_its_half(photos: PhotosConfig, rank: int) -> None:
    alone, one = module(photos, 4), module(photos, 2)
    one.trainer = SimpleNamespace(
        max_epochs=-1,
        global_rank=rank,
        world_size=2,
        training=True,
        global_step=0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # type: ignore[assignment]
    whole, half = (next(iter(data.train_dataloader())) for data in (alone, one))
    assert half["index"].tolist() == whole["index"].tolist()[rank::2]
    one.on_after_batch_transfer(half, 0)
    assert one.state_dict()["samples"] == 0, "the step is not finished"
    one.trainer.global_step = 1
    assert one.state_dict()["samples"] == 4, "of both processes"


def test_a_worker_that_cannot_pass_on_a_batch_ends_and_says_why(
    photos: PhotosConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", str(long))  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        next(iter(module(photos, 4, workers=1).train_dataloader()))
    said = capfd.readouterr().err
    assert "a data worker cannot pass on a batch: TMPDIR = " in said and "Traceback" not in said


@pytest.mark.parametrize(("workers", "refused"), [(2, True), (0, False)])
def test_room_that_workers_lack_is_found_out_before_anything_is_made(
    photos: PhotosConfig, monkeypatch: pytest.MonkeyPatch, workers: int, refused: bool
) -> None:
    full = SimpleNamespace(f_blocks=16, f_bavail=16, f_frsize=4096)
    monkeypatch.setattr(sharing.os, "statvfs", lambda _: full)
    monkeypatch.setattr(sharing, "SHARED_MEMORY", Path("/"))
    if not refused:
        assert module(photos, 4, workers)
        return
    with pytest.raises(ValueError, match=r"data.num_workers = 2 needs 0\.8 MB .* --shm-size"):
        module(photos, 4, workers)
