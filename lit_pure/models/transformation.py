"""NSARM's transformation network: the LQ picture's latent -> residuals of the first scales (arXiv 2510.00820).

Knows latents, grids and residuals. Knows nothing of pictures, bits or losses: who calls it takes the signs. Two
networks share one call, `network(latent, grids, baseline)`:

- `PublishedTransformation` computes what the published checkpoint was trained for. Its norms go over channels and
  positions together, with a weight for each position, so that it takes one size of latent; and it writes a residual
  into its tokens in the order of memory (`raw` layout), so that a token is a run of one channel, not a position.
- `Transformation` takes a latent of any size and any grids: norms go over the channels of one position, sinusoids say
  where a token is, and a token is a position. It predicts residuals, or a correction to given ones, zero at first.

Shape legend: B pictures, d latent channels, h w the LQ latent's grid, h_k w_k the grid of scale k, C channels,
T = h_k w_k tokens, D width of a branch.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.transformation import Layout, TransformationConfig

Grid = tuple[int, int]
"""Rows and columns."""
FFN = 4
"""Hidden channels of a transformer layer's feed-forward, in widths of its branch."""
Norm = Callable[[int], nn.Module]
"""Makes the norm of some channels."""
WAVES = 1e4
"""Ratio between the longest and the shortest wave of positions."""


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position of (B, C, h, w)."""

    def forward(self, x_BChw: Tensor) -> Tensor:
        return super().forward(x_BChw.movedim(1, -1)).movedim(-1, 1)


def _convolutions(channels: Iterable[int], norm: Norm) -> nn.Sequential:
    """3x3 convolutions from each number of channels to the next, each followed by norm and GELU."""
    steps = [[nn.Conv2d(a, b, 3, padding=1), norm(b), nn.GELU()] for a, b in pairwise(channels)]
    return nn.Sequential(*(layer for step in steps for layer in step))


class Branch(nn.Module):
    """One scale: convolutions at the latent's resolution, averages over its cells, a transformer, a head."""

    def __init__(self, channels: int, width: int, out: int, norm: Norm, transformer: nn.Sequential) -> None:
        """`channels` come in at each position, `out` leave at each token."""
        super().__init__()
        half = width // 2
        self.convolutions = _convolutions([channels, half, width], norm)
        self.transformer = transformer
        self.head = nn.Sequential(nn.Linear(width, half), nn.LayerNorm(half), nn.GELU(), nn.Linear(half, out))

    def forward(self, features_BChw: Tensor, grid: Grid, added_BTD: Tensor | None = None) -> Tensor:
        """Features (B, C, h, w), and what to add to the tokens -> (B, T, d), the cells of `grid` in row-major order."""
        cells_BTD = _to_tokens(F.adaptive_avg_pool2d(self.convolutions(features_BChw), grid), "spatial")
        return self.head(self.transformer(cells_BTD if added_BTD is None else cells_BTD + added_BTD))


def _branches(config: TransformationConfig, channels: int, out: int, norm: Norm, norm_first: bool) -> nn.ModuleList:
    """All branches. The transformers have ReLU and norms last, as published, or GELU and norms first."""

    def transformer(width: int, layers: int, heads: int) -> nn.Sequential:
        sizes = (width, heads, FFN * width, config.dropout, F.gelu if norm_first else F.relu)
        parts: list[nn.Module] = [
            nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=norm_first) for _ in range(layers)
        ]
        return nn.Sequential(*parts, *([nn.LayerNorm(width)] if norm_first else []))

    sizes = zip(config.widths, config.layers, config.heads, strict=True)
    return nn.ModuleList(Branch(channels, width, out, norm, transformer(width, *rest)) for width, *rest in sizes)


class PublishedTransformation(nn.Module):
    """The published network for NSARM-8B; with 14 latent channels and the default sizes it has 385,103,600 weights."""

    def __init__(self, config: TransformationConfig, latent_channels: int) -> None:
        super().__init__()
        self.config = config

        def norm(channels: int) -> nn.Module:
            return nn.LayerNorm([channels, config.side, config.side])

        self.stem = _convolutions([latent_channels, *config.stem, latent_channels], norm)
        self.branches = _branches(config, latent_channels, latent_channels, norm, norm_first=False)

    def forward(
        self, latent_Bdhw: Tensor, grids: Sequence[Grid], baseline: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """As `Transformation.forward`, for latents (B, d, side, side) only; it takes no baseline."""
        _require_fitting(self.config, grids, baseline)
        side, (height, width) = self.config.side, latent_Bdhw.shape[-2:]
        if (height, width) != (side, side):
            raise ValueError(
                f"an LQ latent of {height}x{width} does not fit the published transformation network, which takes "
                f"{side}x{side}; resize the LQ picture, or take a network with layout: spatial"
            )
        features_Bdhw = self.stem(latent_Bdhw)
        return [
            _to_map(branch(features_Bdhw, grid), grid, "raw") for branch, grid in zip(self.branches, grids, strict=True)
        ]


class Transformation(nn.Module):
    """Our network: any size of latent, any grids, tokens that are positions."""

    def __init__(self, config: TransformationConfig, latent_channels: int) -> None:
        super().__init__()
        self.config = config
        # No convolution back to the latent's channels: a norm over so few would leave little of a position.
        self.stem = _convolutions([latent_channels, *config.stem], ChannelNorm)
        self.branches = _branches(config, config.stem[-1], latent_channels, ChannelNorm, norm_first=True)
        self.given: nn.ModuleList | None = None
        if config.predicts == "correction":
            self.given = nn.ModuleList(nn.Linear(latent_channels, width) for width in config.widths)
            for name, weight in self.branches.named_parameters():
                if ".head.3." in name:  # the last layers are silent at first
                    nn.init.zeros_(weight)

    def forward(
        self, latent_Bdhw: Tensor, grids: Sequence[Grid], baseline: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Residuals (B, d, h_k, w_k) of the first scales, before their signs are taken.

        Args:
            latent_Bdhw: the LQ picture's features by the frozen tokenizer's encoder, not quantised.
            grids: rows and columns of each scale on the latent's grid, one for each branch, coarsest first; a grid may
                be finer than the LQ latent.
            baseline: residuals (B, d, h_k, w_k) of the enlarged LQ picture along its own path; only for a network
                that predicts a correction, which starts at exactly these.

        Raises:
            ValueError: another number of grids than branches; a baseline that is missing, unasked for or of other
                sizes than the grids.
        """
        _require_fitting(self.config, grids, baseline)
        features_BChw = self.stem(latent_Bdhw)
        height, width = latent_Bdhw.shape[-2:]
        residuals = []
        for index, (branch, grid) in enumerate(zip(self.branches, grids, strict=True)):
            added_BTD = positions(grid, (height, width), self.config.widths[index], latent_Bdhw.device)
            if self.given is None or baseline is None:
                residuals.append(_to_map(branch(features_BChw, grid, added_BTD), grid, "spatial"))
                continue
            added_BTD = added_BTD + self.given[index](_to_tokens(baseline[index], "spatial"))
            residuals.append(baseline[index] + _to_map(branch(features_BChw, grid, added_BTD), grid, "spatial"))
        return residuals


AnyTransformation = PublishedTransformation | Transformation


def make_transformation(config: TransformationConfig, latent_channels: int) -> AnyTransformation:
    """The network of the config's layout, for latents of `latent_channels`."""
    network = PublishedTransformation if config.layout == "raw" else Transformation
    return network(config, latent_channels)


def positions(grid: Grid, area: Grid, width: int, device: torch.device) -> Tensor:
    """Sinusoids (T, D) of the centres of a grid's cells, in cells of the LQ latent, so that all scales share a frame.

    The first half of the channels depends on the row, the second on the column; `width` is a multiple of 4. The
    sinusoids are the transformer's (arXiv 1706.03762, section 3.5).
    """
    waves = WAVES ** (torch.arange(width // 4, device=device) * (-4 / width))
    sides = []
    for cells, extent in zip(grid, area, strict=True):
        angles = ((torch.arange(cells, device=device) + 0.5) * (extent / cells))[:, None] * waves
        sides.append(torch.cat([angles.sin(), angles.cos()], dim=-1))
    rows, columns = sides
    both = torch.broadcast_tensors(rows[:, None], columns[None])
    return torch.cat(both, dim=-1).flatten(0, 1)


def _to_tokens(map_BChw: Tensor, layout: Layout) -> Tensor:
    """(B, C, h, w) -> (B, T, C); `raw` cuts the map's memory, channel after channel, into runs of C numbers."""
    if layout == "raw":
        return map_BChw.reshape(map_BChw.shape[0], -1, map_BChw.shape[1])
    return map_BChw.flatten(2).transpose(1, 2)


def _to_map(tokens_BTC: Tensor, grid: Grid, layout: Layout) -> Tensor:
    """(B, T, C) -> (B, C, h, w), the inverse of `_to_tokens`."""
    if layout == "raw":
        return tokens_BTC.reshape(tokens_BTC.shape[0], tokens_BTC.shape[-1], *grid)
    return tokens_BTC.transpose(1, 2).unflatten(-1, grid)


def _require_fitting(config: TransformationConfig, grids: Sequence[Grid], baseline: Sequence[Tensor] | None) -> None:
    """Raises ValueError where the arguments of `forward` do not fit the network."""
    if len(grids) != len(config.widths):
        raise ValueError(
            f"{len(grids)} prefix scales for {len(config.widths)} branches; give the first {len(config.widths)} scales"
        )
    if (baseline is not None) != (config.predicts == "correction"):
        raise ValueError(
            f"a network that predicts {config.predicts} "
            + ("takes no baseline" if baseline is not None else "needs the residuals of the enlarged LQ picture")
        )
    if baseline is not None and [tuple(item.shape[-2:]) for item in baseline] != [tuple(grid) for grid in grids]:
        raise ValueError(f"baseline of sizes {[tuple(item.shape[-2:]) for item in baseline]}, grids {list(grids)}")
