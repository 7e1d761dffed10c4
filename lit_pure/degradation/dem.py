"""Degradation estimator: how blurred and how noisy an LQ image is (DEM of MM-RealSR, arXiv 2205.05065).

Two networks give scores in [0, 1] that order images by severity. Scores are not physical values, so the boundaries
between small, medium and large come from the scores of many images (`calibrate`). Knows the networks, their losses and
their training images. Knows nothing of optimizers and loops, nor of how a level is worded.

Networks and losses are the published ones (MM-RealSR's DEResNet), except for the initial weights: theirs are a tenth of
Kaiming's. Training images differ: theirs are groups of five from one crop. A sharpened clean one and the worst of all
factors anchor both scores; of a base, one variant has more blur and a smaller first resize, another more noise and a
lower JPEG quality; pairs wait in a queue. Here each factor has four images in which nothing else varies, so that a
score cannot learn from another factor. No queue is needed: each image of a batch has its own degradation anyway.

Pixels are RGB float32 in [0, 1]. Shape legend: 2 factors (blur, noise), B images, N images in a row, C channels,
4 grades (clean, lower, higher, worst), H W height and width of the HQ image [px], h w of the LQ image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_pure.config.data import DegradationConfig
from lit_pure.config.dem import LEVELS, DemConfig, Level
from lit_pure.degradation.filters import sharpen
from lit_pure.degradation.numbers import Degradation
from lit_pure.degradation.pipeline import apply_all, check_batch, draw
from lit_pure.degradation.severity import with_blur, with_noise
from lit_pure.images.checks import require_batch
from lit_pure.images.tiles import Cover, batches

FACTORS: tuple[Callable[[Degradation, DegradationConfig, float], Degradation], ...] = (with_blur, with_noise)
"""Functions that set the severity of each factor, in the order of the scores."""
MIN_GAP = 0.1
"""Least difference between the two severities of a pair."""
HEAD_WIDTH = 512
"""Hidden units between pooled features and score, as in the published DEResNet."""
TILES_AT_ONCE = 64
"""Tiles of a large image scored together; at 48 px and the published network they take about 100 MB."""


class ResidualBlock(nn.Module):
    """Two convolutions around a ReLU; normalisation by batch statistics would hide the degradation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)  # a deep network without normalisation must start near the identity

    def forward(self, x_BChw: Tensor) -> Tensor:
        y_BChw: Tensor = self.conv2(F.relu(self.conv1(x_BChw)))
        return x_BChw + y_BChw


class ScoreNet(nn.Module):
    """The network of one factor."""

    def __init__(self, config: DemConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, config.features[0], 3, padding=1)]
        following = [*config.features[1:], config.features[-1]]
        stages = zip(config.features, following, config.blocks, config.downscales, strict=True)
        for channels, next_channels, blocks, stride in stages:
            layers += [ResidualBlock(channels) for _ in range(blocks)]
            if stride > 1 or channels != next_channels:
                layers.append(nn.Conv2d(channels, next_channels, 3, stride, padding=1))
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(config.features[-1], HEAD_WIDTH), nn.ReLU(), nn.Linear(HEAD_WIDTH, 1))

    def forward(self, lq_B3hw: Tensor) -> Tensor:
        """score_B, [0, 1]."""
        pooled_BC = self.body(lq_B3hw).mean(dim=(2, 3))
        score_B: Tensor = self.head(pooled_BC).squeeze(1).sigmoid()
        return score_B


@dataclass(frozen=True)
class Pairs:
    """Images whose order by severity is known."""

    lq_24B3hw: Tensor
    """Per factor and image: severity 0, two drawn severities in ascending order, severity 1; nothing else varies."""
    severity_24B: Tensor
    """The severities, [0, 1]."""


def first_thresholds(config: DemConfig) -> Tensor:
    """The boundaries (small, large) of each factor before anything is calibrated, (2, 2); NaN for terciles.

    The thirds are those of PURE's author (thread 6 of nonwhy/PURE), for the published estimator.
    """
    boundaries = (1 / 3, 2 / 3) if config.labels == "thirds" else (torch.nan, torch.nan)
    return torch.tensor([boundaries, boundaries])


class DegradationEstimator(nn.Module):
    """Scores LQ images and gives their levels; with `labels: terciles` once it is calibrated."""

    thresholds_22: Tensor

    def __init__(self, config: DemConfig) -> None:
        super().__init__()
        self.config = config
        self.nets = nn.ModuleList([ScoreNet(config) for _ in FACTORS])
        self.register_buffer("thresholds_22", first_thresholds(config))

    def forward(self, lq_B3hw: Tensor) -> Tensor:
        """Score images of any size.

        Returns:
            scores_B2, [0, 1], (blur, noise); higher is worse.
        """
        return torch.stack([net(lq_B3hw) for net in self.nets], dim=1)

    @torch.no_grad()
    def score(self, images_B3hw: Tensor, tile: int) -> Tensor:
        """Score images of any one size: the mean over the tiles that cover them, a few tiles at a time.

        Scored in one pass, a large image would get lower scores than the images behind the thresholds: these have more
        border for their size, and convolutions see zeros beyond a border.

        Args:
            images_B3hw: LQ images in [0, 1], on any device; a side below `tile` is one tile.
            tile: side of a tile [px]; that of the LQ images behind the thresholds.

        Returns:
            scores_B2, [0, 1], (blur, noise); higher is worse; on the images' device.

        Raises:
            ValueError: the images are not (B, 3, h, w) float in [0, 1].
        """
        require_batch(images_B3hw, "LQ pictures")
        images, device = len(images_B3hw), self.thresholds_22.device
        rows, columns = (Cover(side, tile, overlap=0) for side in images_B3hw.shape[2:])
        total_B2 = torch.zeros(images, 2, device=device)
        for places in batches(rows, columns, max(1, TILES_AT_ONCE // images)):
            tiles = [
                images_B3hw[:, :, at.top : at.top + rows.extent, at.left : at.left + columns.extent] for at in places
            ]
            total_B2 += self(torch.cat(tiles).to(device)).view(len(places), images, 2).sum(0)
        return (total_B2 / (len(rows.starts) * len(columns.starts))).to(images_B3hw.device)

    def grade(self, pairs: Pairs) -> Tensor:
        """Score the images of each factor with its network, in one forward pass each.

        Returns:
            scores_24B, [0, 1], in the order of `Pairs.lq_24B3hw`.
        """
        factors = zip(self.nets, pairs.lq_24B3hw, strict=True)
        scores = [net(lq_4B3hw.flatten(0, 1)).view(lq_4B3hw.shape[:2]) for net, lq_4B3hw in factors]
        return torch.stack(scores)

    @torch.no_grad()
    def calibrate(self, scores_N2: Tensor) -> None:
        """Set the boundaries so that a third of these scores is below, between and above them.

        Raises:
            ValueError: fewer than three pairs of scores, or scores that are not finite.
        """
        if scores_N2.ndim != 2 or scores_N2.shape[1] != 2 or len(scores_N2) < 3 or not scores_N2.isfinite().all():
            raise ValueError(f"cannot calibrate with {tuple(scores_N2.shape)} scores; give (N, 2), finite, N above 2")
        thirds = torch.tensor([1 / 3, 2 / 3], device=scores_N2.device)
        self.thresholds_22.copy_(scores_N2.float().quantile(thirds, dim=0).T)

    def labels(self, scores_B2: Tensor) -> list[tuple[Level, Level]]:
        """Levels (blur, noise) of each image; a score on a boundary belongs to the level below it.

        Raises:
            ValueError: not calibrated, or scores that are not (B, 2).
        """
        if self.thresholds_22.isnan().any():
            raise ValueError(
                "the degradation estimator is not calibrated; call calibrate(scores), or load a trained one"
            )
        if scores_B2.ndim != 2 or scores_B2.shape[1] != 2:
            raise ValueError(f"cannot label scores of shape {tuple(scores_B2.shape)}; give (B, 2), (blur, noise)")
        index_B2 = (scores_B2[:, :, None] > self.thresholds_22.to(scores_B2)).sum(-1)
        return [(LEVELS[blur], LEVELS[noise]) for blur, noise in index_B2.tolist()]


def ranking_loss(lower_B: Tensor, higher_B: Tensor, margin: float) -> Tensor:
    """Mean of max(0, lower - higher + margin): zero once the worse image scores higher by `margin`.

    Args:
        lower_B: scores of the less degraded images, of any shape.
        higher_B: scores of the more degraded images, of the same shape.
        margin: [0, 1].
    """
    return F.relu(lower_B - higher_B + margin).mean()


def anchor_loss(clean_B: Tensor, worst_B: Tensor) -> Tensor:
    """Mean squared error of the scores of undegraded images against 0, plus that of the worst images against 1."""
    return clean_B.square().mean() + (worst_B - 1).square().mean()


@torch.no_grad()
def training_pairs(hq_B3HW: Tensor, config: DegradationConfig, rngs: Sequence[np.random.Generator]) -> Pairs:
    """Make four grades of blur and four of noise per image: one drawn degradation in which only that factor varies.

    The two severities between the anchors are uniform over all pairs that differ by at least `MIN_GAP`.

    Args:
        hq_B3HW: [0, 1], H and W multiples of `config.scale`.
        config: the distributions.
        rngs: one generator per image, the only source of its randomness; each is advanced.

    Raises:
        ValueError: as `degrade`.
    """
    check_batch(hq_B3HW, rngs)
    images, degradations, severities = [], [], []
    for hq_3HW, rng in zip(hq_B3HW, rngs, strict=True):
        base = draw(config, rng)
        if base.sharpen:  # once, not eight times
            with torch.autocast(hq_3HW.device.type, enabled=False):
                hq_3HW, base = sharpen(hq_3HW), replace(base, sharpen=False)
        for set_severity in FACTORS:
            lower, higher = sorted(rng.uniform(0, 1 - MIN_GAP, size=2).tolist())
            grades = [0.0, lower, higher + MIN_GAP, 1.0]
            images += [hq_3HW] * len(grades)
            degradations += [set_severity(base, config, severity) for severity in grades]
            severities += grades
    lq_N3hw = apply_all(images, degradations, config.scale)
    lq_24B3hw = lq_N3hw.unflatten(0, (len(rngs), len(FACTORS), -1)).permute(1, 2, 0, 3, 4, 5).contiguous()
    severity_B24 = torch.tensor(severities, device=hq_B3HW.device).view(len(rngs), len(FACTORS), -1)
    return Pairs(lq_24B3hw, severity_B24.permute(1, 2, 0))
