"""The data module: the same (seed, epoch, index) gives the same LQ in any batch; labels come from the DEM."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.config.data import DataConfig, DegradationConfig, PhotosConfig
from lit_pure.config.models import DemConfig
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.lit.data import Batch, DegradationPairs, DegradeAndScore, PhotoDataModule


@pytest.fixture
def photos(tmp_path: Path) -> PhotosConfig:
    random = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(random.integers(0, 255, (70, 80, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return PhotosConfig(source=str(tmp_path), crops=4)


def module(photos: PhotosConfig, batch_size: int, workers: int = 0, dem: bool = False) -> PhotoDataModule:
    data = DataConfig(size=64, train=photos, val=photos, test={"b": photos, "a": photos}, batch_size=batch_size)
    data.num_workers, data.eval_batch_size = workers, batch_size
    estimator = None
    if dem:
        estimator = DegradationEstimator(DemConfig(features=[4], blocks=[1], downscales=[1])).eval()
        estimator.calibrate(torch.rand(30, 2, generator=torch.Generator().manual_seed(0)))
    return PhotoDataModule(data, 5, DegradeAndScore(DegradationConfig(), estimator))


def by_key(data: PhotoDataModule, epoch: int) -> dict[tuple[int, int], torch.Tensor]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    found = {}
    for raw in loader:
        batch: Batch = data.on_after_batch_transfer(raw, 0)
        keys = zip(batch["epoch"].tolist(), batch["index"].tolist(), strict=True)
        found |= dict(zip(keys, batch["lq_B3hw"], strict=True))
    return found


def test_a_sample_is_the_same_in_any_batch_and_with_any_workers(photos: PhotosConfig) -> None:
    reference = by_key(module(photos, batch_size=1), epoch=3)
    assert set(reference) == {(3, index) for index in range(12)}
    for other in (module(photos, batch_size=5), module(photos, batch_size=4, workers=2)):
        found = by_key(other, epoch=3)
        assert all(torch.equal(found[key], reference[key]) for key in reference)
    later = by_key(module(photos, batch_size=4), epoch=4)
    assert not any(torch.equal(later[4, index], reference[3, index]) for index in range(12))


def test_the_test_sees_the_same_pictures_after_any_epoch(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=12)
    loader = data.test_dataloader()[0]
    first = data.on_after_batch_transfer(next(iter(loader)), 0)
    loader.sampler.set_epoch(9)  # type: ignore[attr-defined]
    again = data.on_after_batch_transfer(next(iter(loader)), 0)
    assert torch.equal(first["lq_B3hw"], again["lq_B3hw"])


def test_a_batch_on_the_device_keeps_the_pixel_contract(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=3, dem=True)
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert batch["hq_B3HW"].dtype == torch.float32 and batch["hq_B3HW"].shape == (3, 3, 64, 64)
    assert batch["lq_B3hw"].shape == (3, 3, 16, 16)
    assert 0 <= float(batch["lq_B3hw"].min()) and float(batch["lq_B3hw"].max()) <= 1
    assert isinstance(data.transform, DegradeAndScore) and data.transform.dem is not None
    assert batch["labels"] == data.transform.dem.labels(data.transform.dem(batch["lq_B3hw"]))


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
            data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert caplog.text.count("skipped b.png") == 1
    assert data.skipped() == ["b.png: cannot be decoded"]


def test_pairs_for_the_dem(photos: PhotosConfig) -> None:
    data = module(photos, batch_size=2)
    data.transform = DegradationPairs(DegradationConfig())
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert batch["pairs"].lq_24B3hw.shape == (2, 4, 2, 3, 16, 16)
