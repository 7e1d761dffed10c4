"""The DEM module: its loss by the definition, calibration on draws of its own, accuracy by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.config.data import DataConfig, PhotosConfig
from lit_pure.config.models import DemConfig
from lit_pure.config.schema import DemExperiment
from lit_pure.degradation.dem import Pairs
from lit_pure.lit.data import DegradationPairs, PhotoDataModule
from lit_pure.lit.dem import DemModule


def module(photos: PhotosConfig | None = None) -> DemModule:
    torch.manual_seed(0)
    photos = photos or PhotosConfig()
    dem = DemConfig(features=[4], blocks=[1], downscales=[1], calibration=12, rank_weight=2.0, anchor_weight=3.0)
    data = DataConfig(size=64, train=photos, val=photos, batch_size=4)
    return DemModule(DemExperiment(dem=dem, data=data))


def test_the_loss_is_ranking_and_anchors_of_both_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module()
    # clean, lower, higher, worst of one image, for blur and for noise
    scores_24B = torch.tensor([[[0.1], [0.4], [0.3], [0.9]], [[0.0], [0.2], [0.6], [1.0]]])
    monkeypatch.setattr(made.dem, "grade", lambda pairs: scores_24B)
    loss, parts = made._losses({"pairs": Pairs(torch.empty(0), torch.empty(0))})
    rank = (max(0, 0.4 - 0.3 + 0.05) + max(0, 0.2 - 0.6 + 0.05)) / 2
    anchor = (0.1**2 + 0) / 2 + (0.1**2 + 0) / 2
    assert loss.item() == pytest.approx(2 * rank + 3 * anchor, abs=1e-6)
    assert (parts["blur_accuracy"], parts["noise_accuracy"]) == (0, 1)


def test_calibration_gives_each_level_a_third_of_fresh_samples(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (80, 90, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    photos = PhotosConfig(source=str(tmp_path), crops=5)
    made = module(photos)
    data = PhotoDataModule(made.config.data, 0, DegradationPairs(made.config.data.degradation))
    seen: list[torch.Tensor] = []
    made.dem.register_forward_hook(lambda _, inputs, output: seen.append(output))
    made.calibrate(data)
    scores = torch.cat(seen)
    assert scores.shape == (12, 2)
    for factor in (0, 1):
        levels = [labels[factor] for labels in made.dem.labels(scores)]
        assert [levels.count(level) for level in ("small", "medium", "large")] == [4, 4, 4]
