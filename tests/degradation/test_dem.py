"""The estimator: shapes, closed forms of the losses, levels, training images, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_pure.config.data import DegradationConfig
from lit_pure.config.dem import DemConfig
from lit_pure.degradation import dem
from lit_pure.degradation.dem import (
    MIN_GAP,
    DegradationEstimator,
    anchor_loss,
    ranking_loss,
    training_pairs,
)
from lit_pure.degradation.pipeline import apply, draw
from lit_pure.degradation.severity import with_noise

TINY = DemConfig(features=[8, 16], blocks=[1, 1], downscales=[2, 1])


def keys(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


@pytest.fixture
def estimator() -> DegradationEstimator:
    torch.manual_seed(0)
    return DegradationEstimator(TINY)


def test_the_estimator_scores_images_of_any_size_by_two_separate_networks(estimator: DegradationEstimator) -> None:
    scores_B2 = estimator(torch.rand(5, 3, 24, 17))
    assert scores_B2.shape == (5, 2) and scores_B2.min() > 0 and scores_B2.max() < 1
    blur, noise = (next(net.parameters()) for net in estimator.nets)
    scores_B2[:, 0].sum().backward()
    assert blur.grad is not None and blur.grad.any()
    assert noise.grad is None or not noise.grad.any()  # two networks, nothing shared


def test_a_photograph_scores_the_mean_of_its_tiles(
    estimator: DegradationEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    lq_3hw = torch.cat([torch.rand(3, 40, 50), torch.rand(3, 40, 30) / 8], dim=2)
    passes: list[torch.Size] = []
    estimator.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0].shape))
    monkeypatch.setattr(dem, "TILES_AT_ONCE", 2)
    [scores_2] = estimator.score(lq_3hw[None], 16)
    # Three rows from 0, 12 and 24 px; five columns side by side.
    assert passes == [(count, 3, 16, 16) for count in (*[2] * 7, 1)]
    tiles = [lq_3hw[:, top : top + 16, left : left + 16] for top in (0, 12, 24) for left in range(0, 80, 16)]
    torch.testing.assert_close(scores_2, estimator(torch.stack(tiles)).mean(0))
    flat_3hw = lq_3hw[:, :9]
    narrow = [flat_3hw[:, :, left : left + 40] for left in (0, 40)]
    torch.testing.assert_close(estimator.score(flat_3hw[None], 40)[0], estimator(torch.stack(narrow)).mean(0))


def test_the_estimator_scores_a_batch_as_its_images_alone(estimator: DegradationEstimator) -> None:
    lq_B3hw = torch.rand(3, 3, 33, 40)
    alone = torch.cat([estimator.score(lq_3hw[None], 16) for lq_3hw in lq_B3hw])
    torch.testing.assert_close(estimator.score(lq_B3hw, 16), alone)
    torch.testing.assert_close(estimator.score(lq_B3hw[..., :33], 33), estimator(lq_B3hw[..., :33]))


def test_the_default_estimator_has_the_published_layers() -> None:
    net = DegradationEstimator(DemConfig()).nets[0]
    convolutions = [tuple(m.weight.shape[:2]) + m.stride for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 1 + 8 * 2 + 1
    assert convolutions.count((128, 64, 2, 2)) == 1 and convolutions[-1] == (128, 128, 1, 1)


def test_the_ranking_loss_has_its_closed_form() -> None:
    lower, higher = torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0.6, 0.52, 0.4])
    assert ranking_loss(lower, higher, 0.05).item() == pytest.approx((0 + 0.03 + 0.55) / 3)


def test_the_anchor_loss_has_its_closed_form() -> None:
    clean, worst = torch.tensor([0.0, 0.2]), torch.tensor([1.0, 0.6])
    assert anchor_loss(clean, worst).item() == pytest.approx(0.02 + 0.08)


def test_terciles_of_scores_become_levels(estimator: DegradationEstimator) -> None:
    scores_N2 = torch.stack([torch.linspace(0, 1, 301), torch.linspace(0.4, 0.7, 301).flip(0)], dim=1)
    estimator.calibrate(scores_N2)
    torch.testing.assert_close(estimator.thresholds_22, torch.tensor([[1 / 3, 2 / 3], [0.5, 0.6]]))
    labels = estimator.labels(torch.tensor([[0.1, 0.65], [0.4, 0.45], [0.9, 0.55]]))
    assert labels == [("small", "large"), ("medium", "small"), ("large", "medium")]
    counts = [sum(label[0] == level for label in estimator.labels(scores_N2)) for level in ("small", "medium", "large")]
    assert max(counts) - min(counts) <= 2


def test_thirds_are_the_levels_that_the_author_names() -> None:
    """0 to 1/3 is small, to 2/3 medium, to 1 large (thread 6 of nonwhy/PURE); no calibration is needed."""
    estimator = DegradationEstimator(replace(TINY, labels="thirds"))
    for score, level in {0.0: 1, 0.2: 1, 0.333: 1, 0.334: 2, 0.5: 2, 0.666: 2, 0.667: 3, 0.9: 3, 1.0: 3}.items():
        word = ("", "small", "medium", "large")[level]
        assert estimator.labels(torch.tensor([[score, 0.5]])) == [(word, "medium")]
        assert estimator.labels(torch.tensor([[0.5, score]])) == [("medium", word)]
    [boundary, _] = estimator.thresholds_22
    assert estimator.labels(boundary[None]) == [("small", "medium")], "a boundary belongs to the level below it"


def test_thresholds_of_levels_are_saved_with_the_estimator(estimator: DegradationEstimator) -> None:
    estimator.calibrate(torch.rand(30, 2))
    other = DegradationEstimator(TINY)
    other.load_state_dict(estimator.state_dict())
    assert torch.equal(other.thresholds_22, estimator.thresholds_22)


def test_an_uncalibrated_estimator_and_too_few_scores_are_refused(estimator: DegradationEstimator) -> None:
    with pytest.raises(ValueError, match="call calibrate"):
        estimator.labels(torch.rand(2, 2))
    for bad in (torch.rand(2, 2), torch.rand(8, 3), torch.full((8, 2), torch.nan)):
        with pytest.raises(ValueError, match="cannot calibrate"):
            estimator.calibrate(bad)


def test_training_pairs_differ_in_one_factor(hq_B3HW: Tensor) -> None:
    config = DegradationConfig()
    pairs = training_pairs(hq_B3HW, config, keys(0, 1, 2))
    assert pairs.lq_24B3hw.shape == (2, 4, 3, 3, 24, 16)
    clean, lower, higher, worst = pairs.severity_24B.unbind(1)
    assert (clean == 0).all() and (worst == 1).all()
    assert (lower >= 0).all() and (higher <= 1).all() and (higher - lower >= MIN_GAP - 1e-6).all()
    base = draw(config, np.random.default_rng(1))
    for grade, severity in enumerate(pairs.severity_24B[1, :, 1].tolist()):
        expected = apply(hq_B3HW[1], with_noise(base, config, severity), config.scale)
        torch.testing.assert_close(pairs.lq_24B3hw[1, grade, 1], expected, atol=1.01 / 255, rtol=0)


def test_training_pairs_depend_on_their_own_key_only(hq_B3HW: Tensor) -> None:
    config = DegradationConfig()
    together, alone = training_pairs(hq_B3HW, config, keys(0, 1, 2)), training_pairs(hq_B3HW[2:], config, keys(2))
    assert torch.equal(together.lq_24B3hw[:, :, 2:], alone.lq_24B3hw)
    assert torch.equal(together.severity_24B[:, :, 2:], alone.severity_24B)
    with pytest.raises(ValueError, match="one for each"):
        training_pairs(hq_B3HW, config, keys(0))


def test_grades_are_the_scores_of_each_network(estimator: DegradationEstimator, hq_B3HW: Tensor) -> None:
    pairs = training_pairs(hq_B3HW, DegradationConfig(), keys(0, 1, 2))
    scores_24B = estimator.grade(pairs)
    assert scores_24B.shape == (2, 4, 3)
    for factor in range(2):
        torch.testing.assert_close(scores_24B[factor, 1], estimator(pairs.lq_24B3hw[factor, 1])[:, factor])


def test_the_estimator_learns_to_order_images_and_to_separate_anchors(
    estimator: DegradationEstimator, hq_B3HW: Tensor
) -> None:
    """A few steps order the images and pull the anchors apart."""
    config = replace(DegradationConfig(), jpeg_range=(80.0, 95.0), jpeg_range2=(80.0, 95.0))
    pairs = training_pairs(hq_B3HW.repeat(3, 1, 1, 1), config, keys(*range(9)))
    optimizer = torch.optim.Adam(estimator.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        clean_2B, lower_2B, higher_2B, worst_2B = estimator.grade(pairs).unbind(1)
        ranking, anchor = ranking_loss(lower_2B, higher_2B, 0.05), anchor_loss(clean_2B, worst_2B)
        losses.append((ranking.item(), anchor.item()))
        optimizer.zero_grad()
        (ranking + anchor).backward()
        optimizer.step()
    assert losses[-1][0] < losses[0][0] / 2 and losses[-1][1] < losses[0][1] * 0.8
