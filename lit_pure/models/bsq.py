"""Binary spherical quantisation of features, scale by scale: residuals, bits, running sums, inputs and labels.

Knows features, bits and the published loop over scales (Infinity, arXiv 2412.04431, sections 3.2 and 3.4; NSARM, arXiv
2510.00820), with the gradients that each stage of training needs. Knows no network. Everything is in float32 even under
autocast (float64 stays), because bfloat16 changes signs. What is random is an argument.

Of each scale there is one list entry. Residuals are brought down by averaging, codes up bilinearly, and running sums to
the next scale's grid as the caller says (`Resize`).

Shape legend: B batch, D bits of a latent cell, H W the last grid of cells, h w a scale's grid of cells, p side of the
patch of cells that is a token, n tokens of a scale (h w / p^2), L tokens of all scales, E bits of a token (D p^2),
K scales.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.bit_tokenizer import Resize
from lit_pure.models.scales import Grid, tokens


@dataclass(frozen=True)
class Scales:
    """What became of features; lists by scale."""

    residuals_BDhw: list[Tensor]
    """What the codes before left of the features, brought down; along the clean path these are stage 1's targets."""
    bits_BDhw: list[Tensor]
    """Labels (bool): the signs before any flip; of a given prefix, its own."""
    sums_BDHW: list[Tensor]
    """Running sums of enlarged codes after each scale, flips included; the last one is what the decoder gets."""


def quantize(z_BDhw: Tensor) -> Tensor:
    """The nearest vertices of the cube in the unit sphere: signs / sqrt(D), along dimension 1; zero counts as minus.

    The gradient passes straight through to the normalised vectors, and from there through the normalisation.
    """
    z_BDhw = _exact(z_BDhw)
    unit_BDhw = F.normalize(z_BDhw, dim=1, eps=1e-12)
    # The difference is zero, so that the value is exactly that of `codes`; only its gradient counts.
    return codes(z_BDhw > 0, z_BDhw.dtype) + (unit_BDhw - unit_BDhw.detach())


def codes(bits_BDhw: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Bits along dimension 1, bool or 0 and 1 -> vectors of length 1."""
    return (2 * bits_BDhw.to(dtype) - 1) / bits_BDhw.shape[1] ** 0.5


def enlarge(code_BDhw: Tensor, last: Grid) -> Tensor:
    """A scale's codes on the last grid, (B, D, H, W); bilinear."""
    return _resized(code_BDhw, last, "trilinear")


def shrink(sum_BDHW: Tensor, grid: Grid, resize: Resize = "trilinear") -> Tensor:
    """A running sum on the grid of the next scale, (B, D, h, w)."""
    return _resized(sum_BDHW, grid, resize)


def encode_scales(
    features_BDHW: Tensor,
    grids: Sequence[Grid],
    *,
    flips_BDhw: Sequence[Tensor] = (),
    flips_keep_gradient: bool = False,
    prefix_BDhw: Sequence[Tensor] = (),
    kept_BK: Tensor | None = None,
    detach_sums: bool = False,
) -> Scales:
    """Quantise features scale by scale; each scale sees what the ones before it left.

    Args:
        features_BDHW: of the encoder.
        grids: of latent cells, the last one that of the features.
        flips_BDhw: True where a bit is flipped after it became a label (bitwise self-correction): later scales learn to
            repair it. For the first scales; the others, and those of a prefix, are left as they are.
        flips_keep_gradient: the gradient of a flipped code is the negative of its straight-through one, and the others
            keep theirs. False: as published, no gradient passes codes of a scale with flips.
        prefix_BDhw: predicted residuals of the first scales, before normalisation: their codes replace the picture's
            own, and all later scales are quantised anew after them (NSARM's stage 2). The gradient reaches them through
            later inputs and, unless sums are detached, through later codes.
        kept_BK: False where a scale is left out of a picture, and its residual is left to later ones.
        detach_sums: residuals have no gradient for earlier codes, as in the published training of tokenizers.

    Returns:
        Residuals, labels and running sums.

    Raises:
        ValueError: the last grid is not that of the features, or there are more flips or prefixes than scales.
    """
    last = _size(features_BDHW)
    if not grids or grids[-1] != last:
        raise ValueError(f"features of {last[0]}x{last[1]} cells do not end the scales {list(grids)}; take their grid")
    if max(len(flips_BDhw), len(prefix_BDhw)) > len(grids):
        raise ValueError(f"{len(flips_BDhw)} flips and {len(prefix_BDhw)} predicted scales exceed {len(grids)} scales")
    features_BDHW = _exact(features_BDHW)
    sum_BDHW, found = torch.zeros_like(features_BDHW), Scales([], [], [])
    for index, grid in enumerate(grids):
        before_BDHW = sum_BDHW.detach() if detach_sums else sum_BDHW
        residual_BDhw = _resized(features_BDHW - before_BDHW, grid, "area")
        chosen_BDhw = prefix_BDhw[index] if index < len(prefix_BDhw) else residual_BDhw
        code_BDhw = quantize(chosen_BDhw)
        found.residuals_BDhw.append(residual_BDhw)
        found.bits_BDhw.append(code_BDhw.detach() > 0)
        if len(prefix_BDhw) <= index < len(flips_BDhw):
            code_BDhw = code_BDhw * (1 - 2 * flips_BDhw[index].to(code_BDhw))
            code_BDhw = code_BDhw if flips_keep_gradient else code_BDhw.detach()
        if kept_BK is not None:
            code_BDhw = code_BDhw * kept_BK[:, index, None, None, None].to(code_BDhw)
        sum_BDHW = sum_BDHW + enlarge(code_BDhw, last)
        found.sums_BDHW.append(sum_BDHW)
    return found


def decode_scales(bits_BDhw: Sequence[Tensor], last: Grid) -> Tensor:
    """The sum of the codes of all given scales on the last grid, (B, D, H, W); the decoder's input."""
    # One after the other, as when encoding: the result is the same in every bit.
    return functools.reduce(torch.add, (enlarge(codes(each_BDhw), last) for each_BDhw in bits_BDhw))


def inputs(sums_BDHW: Sequence[Tensor], grids: Sequence[Grid], patch: int, resize: Resize = "trilinear") -> Tensor:
    """What the transformer gets of scales 2 to K: the running sum before each, on its grid, as tokens.

    Args:
        sums_BDHW: after each scale; that of the last scale, if given, is not looked at.
        grids: of latent cells.
        patch: side of a token [cells].
        resize: how sums come to a grid.

    Returns:
        (B, L - n of scale 1, E).
    """
    pairs = zip(sums_BDHW, grids[1:], strict=False)
    return torch.cat([patchify(shrink(sum_BDHW, grid, resize), patch) for sum_BDHW, grid in pairs], 1)


def labels(bits_BDhw: Sequence[Tensor], patch: int) -> Tensor:
    """Bits of all scales as tokens, bool (B, L, E)."""
    return torch.cat([patchify(each_BDhw, patch) for each_BDhw in bits_BDhw], 1)


def bits_of_tokens(labels_BLE: Tensor, grids: Sequence[Grid], patch: int) -> list[Tensor]:
    """The inverse of `labels`, with the grids of latent cells."""
    lengths = [tokens([grid]) // patch**2 for grid in grids]
    parts = zip(labels_BLE.split(lengths, 1), grids, strict=True)
    return [unpatchify(part_BnE, grid, patch) for part_BnE, grid in parts]


def patchify(x_BDhw: Tensor, patch: int) -> Tensor:
    """(B, D, h, w) -> tokens (B, n, E), row by row; number c p^2 + dy p + dx of a token is channel c at (dy, dx)."""
    return F.pixel_unshuffle(x_BDhw, patch).flatten(2).transpose(1, 2)


def unpatchify(x_BnE: Tensor, grid: Grid, patch: int) -> Tensor:
    """The inverse of `patchify`; `grid` is that of latent cells, (h, w)."""
    return F.pixel_shuffle(x_BnE.transpose(1, 2).unflatten(2, (grid[0] // patch, grid[1] // patch)), patch)


def to_raw(x_BDhw: Tensor) -> Tensor:
    """(B, D, h, w) -> (B, h w, D), the same memory: how the published transformation network counts numbers.

    A row of it is D successive numbers of one channel, not the channels of one cell, which `patchify` with 1 gives.
    """
    return x_BDhw.reshape(len(x_BDhw), -1, x_BDhw.shape[1])


def from_raw(x_BnD: Tensor, grid: Grid) -> Tensor:
    """The inverse of `to_raw`."""
    return x_BnD.reshape(len(x_BnD), -1, *grid)


def draw_probabilities(scales: int, strength: float, generator: torch.Generator) -> list[float]:
    """A probability of flips for each scale: 0, 0.01, ... or `strength`, all equally likely."""
    return (torch.randint(round(100 * strength) + 1, (scales,), generator=generator) / 100).tolist()


def flips_from(uniforms_BDhw: Sequence[Tensor], probability_K: Sequence[float]) -> list[Tensor]:
    """Flips (bool) from numbers in [0, 1), one a bit; a scale's probability is that of the whole batch."""
    return [each_BDhw < p for each_BDhw, p in zip(uniforms_BDhw, probability_K, strict=True)]


def draw_flips(
    grids: Sequence[Grid], batch: int, bits: int, strength: float, generator: torch.Generator
) -> list[Tensor]:
    """Random flips of all given scales: first a probability for each, then its bits (section 3.4: strength 0.3).

    Args:
        grids: of latent cells, of the scales to flip.
        batch: B.
        bits: D.
        strength: the largest probability, in [0, 1], rounded to 0.01.
        generator: also says the device.
    """
    probability_K = draw_probabilities(len(grids), strength, generator)
    sizes = [(batch, bits, *grid) for grid in grids]
    return flips_from([torch.rand(size, generator=generator, device=generator.device) for size in sizes], probability_K)


def draw_kept(batch: int, scales: int, dropout: float, generator: torch.Generator) -> Tensor:
    """Which scales a picture keeps in a tokenizer's training, bool (B, K); each is left out with this probability."""
    return torch.rand(batch, scales, generator=generator, device=generator.device) >= dropout


def _exact(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _size(x_BDhw: Tensor) -> Grid:
    return x_BDhw.shape[-2], x_BDhw.shape[-1]


def _resized(x_BDhw: Tensor, grid: Grid, how: Resize) -> Tensor:
    if _size(x_BDhw) == grid:
        return x_BDhw
    if how == "area":
        return F.interpolate(x_BDhw, grid, mode="area")
    # Of one frame, trilinear is bilinear; neither does antialias.
    return F.interpolate(x_BDhw, grid, mode="bilinear", align_corners=False)
