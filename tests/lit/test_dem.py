"""The DEM module: its loss by the definition, calibration on draws of its own, test figures by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.data import DataConfig, PhotosConfig
from lit_pure.config.dem import DemConfig, DemExperiment
from lit_pure.datasets.photos import Crops
from lit_pure.degradation.dem import Pairs
from lit_pure.degradation.pipeline import degrade
from lit_pure.degradation.weights import load_dem, save_dem
from lit_pure.lit.data import DegradationPairs, PhotoDataModule
from lit_pure.lit.dem import DemModule, calibrate
from lit_pure.runs import folder as runs


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


def test_thirds_need_no_calibration(tmp_path: Path) -> None:
    made = module()
    made.config.dem.labels = "thirds"
    made = DemModule(made.config)
    made.finish_training(None)  # type: ignore[arg-type]
    torch.testing.assert_close(made.dem.thresholds_22, torch.tensor([[1 / 3, 2 / 3]] * 2))
    save_dem(tmp_path, made.dem)
    assert load_dem(tmp_path).labels(torch.tensor([[0.2, 0.9]])) == [("small", "large")]


@pytest.mark.shipped
def test_weights_older_than_the_knob_keep_their_terciles() -> None:
    """The shipped estimator's settings, and those of its run, do not say how its thresholds came about."""
    run = runs.require("dem/bsds500/shipped")
    assert "labels" not in (run.folder / "config.yaml").read_text()
    estimator = load_dem(run.weights)
    stored = load_file(run.weights / "model.safetensors")["thresholds_22"]
    assert torch.equal(estimator.thresholds_22, stored) and estimator.config.labels == "terciles"
    assert run.experiment_as(DemExperiment).dem.labels == "terciles"


def test_experiments_say_which_thresholds_they_have() -> None:
    wanted = {"nano": "terciles", "bsds500": "terciles", "paper": "thirds", "official": "thirds"}
    for name, labels in wanted.items():
        experiment = compose(f"dem/{name}")
        assert isinstance(experiment, DemExperiment) and experiment.dem.labels == labels


@pytest.fixture
def photos(tmp_path: Path) -> PhotosConfig:
    """Three pictures of noise, one crop each."""
    random = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(random.integers(0, 255, (80, 90, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return PhotosConfig(source=str(tmp_path))


class Noted(Crops):
    """Crops that write down what they are asked for."""

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        self.__dict__.setdefault("asked", []).append(key)
        return super().__getitem__(key)


def test_calibration_takes_every_photograph_equally_often(photos: PhotosConfig) -> None:
    """However many crops make an epoch: 12 images of 3 photographs, 4 of each, all different."""
    for count in (1, 100):
        made = module(PhotosConfig(source=photos.source, crops=count))
        crops = Noted(made.config.data.train, 64, 0, training=True)
        calibrate(made.dem, made.config, crops)
        asked = crops.__dict__["asked"]
        assert [index // count for _, index in asked] == [0] * 4 + [1] * 4 + [2] * 4
        assert len(set(asked)) == 12


def test_the_test_counts_pairs_and_labels(photos: PhotosConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(photos)
    config = made.config.data
    config.test = {"noise": PhotosConfig(source=photos.source, crops=4)}
    data = PhotoDataModule(config, 0, DegradationPairs(config.degradation))
    made.calibrate(data)
    batch = data.on_after_batch_transfer(next(iter(data.test_dataloader()[0])), 0)
    logged: dict[str, float] = {}
    monkeypatch.setattr(made, "log", lambda key, value, **_: logged.update({key: float(value)}))
    made.test_step(batch, 0)
    # The plain draws by hand: seed, epoch 0, index, purpose 1.
    rngs = [np.random.default_rng([0, 0, index, 1]) for index in range(8)]
    scores_B2 = made.dem(degrade(batch["hq_B3HW"], config.degradation, rngs)[0])
    for factor, name in enumerate(("blur", "noise")):
        low, high = made.dem.thresholds_22[factor]
        score_B = scores_B2[:, factor]
        shares = [score_B <= low, (score_B > low) & (score_B <= high), score_B > high]
        for level, share in zip(("small", "medium", "large"), shares, strict=True):
            assert logged[f"test/noise/{name}_{level}"] == pytest.approx(float(share.float().mean()))
        _, lower_B, higher_B, _ = made.dem.grade(batch["pairs"])[factor]
        assert logged[f"test/noise/{name}_accuracy"] == pytest.approx(float((higher_B > lower_B).float().mean()))
    assert len(logged) == 8


def test_a_process_without_a_factor_is_refused() -> None:
    for preset in ("realesrgan", "realesrgan_light"):
        compose("dem/nano", [f"data.degradation.preset={preset}"])
    with pytest.raises(ConfigError, match=r"(?s)blur_prob = 0.0.*nothing to estimate.*noise_prob = 0.0"):
        compose("dem/nano", ["data.degradation.preset=bicubic"])
