"""The knobs of the bitwise multi-scale tokenizer and of its experiments.

Knows names, types, defaults and legal ranges (`knob`), and the published sizes; the defaults are those of the tokenizer
of NSARM and Infinity-8B. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from lit_pure.config.knobs import Problem, knob
from lit_pure.config.tokenizer import AutoencoderExperiment

Resize = Literal["trilinear", "area"]
"""How the sum of codes is brought to the next scale's grid: point-sampled bilinear, or averaged."""


@dataclass
class BitTokenizerConfig:
    """Infinity's tokenizer (arXiv 2412.04431) with binary spherical quantisation (arXiv 2406.07548)."""

    stem: int = knob(1, low=1, high=8)
    """Side of the pixel block folded into channels before the first convolution [px]; 1 as published."""
    width: int = knob(128, low=24)
    """Channels of the first convolution."""
    multipliers: list[int] = knob([1, 2, 4, 4], low=1)
    """Channels per level, in multiples of `width`; each level after the first halves the resolution."""
    res_blocks: int = knob(2, low=1, high=8)
    """Residual blocks per level of the encoder; the decoder has one more."""
    bits: int = knob(14, low=1, high=256)
    """Bits per latent cell, d."""
    patch: int = knob(2, low=1, high=2)
    """Side of the block of latent cells that is one token."""
    sides: list[int] = knob([1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64], low=1)
    """Sides of the scales of a square [token], ascending; a picture ends with the one that it fills."""
    scale_dropout: float = knob(0.0, low=0, high=1)
    """Share of scales that are left out in training, drawn for each picture and scale."""
    l1_weight: float = knob(0.0, low=0)
    """Weight of the absolute error of the pixels [-1, 1]."""
    l2_weight: float = knob(1.0, low=0)
    """Weight of the squared error of the pixels [-1, 1]."""
    commit_weight: float = knob(0.0, low=0)
    """Weight of the squared distance of the features from the sum of codes; not published."""

    @property
    def channels(self) -> list[int]:
        """Channels per level."""
        return [self.width * factor for factor in self.multipliers]

    @property
    def downsample(self) -> int:
        """Pixels per latent cell along a side, f."""
        return int(self.stem * 2 ** (len(self.multipliers) - 1))

    @property
    def token_pixels(self) -> int:
        """Pixels per token along a side."""
        return self.downsample * self.patch

    @property
    def token_bits(self) -> int:
        """Bits per token."""
        return self.bits * self.patch**2

    def problems(self) -> Iterator[Problem]:
        """What ranges cannot say."""
        if not self.multipliers:
            yield "multipliers", "is empty; give a factor for each level"
        if bad := [width for width in (self.width, *self.channels) if width % 32 and width % 24]:
            yield "width", f"makes levels of {bad} channels; they must be multiples of 32 or 24 to be normalised"
        if not self.sides or any(after <= before for before, after in zip(self.sides, self.sides[1:], strict=False)):
            yield "sides", f"= {self.sides} must ascend, and have one side at least"


@dataclass
class BitTokenizerExperiment(AutoencoderExperiment):
    """Trains the bitwise tokenizer. Neither its losses nor its training are published; ours are the tokenizer's."""

    family: str = "bit_tokenizer"
    bsq: BitTokenizerConfig = field(default_factory=BitTokenizerConfig)
    """Architecture, scales, and losses of pixels and codes."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        token = self.bsq.token_pixels
        if token > 0 and self.data.size % token:
            yield "data.size", f"= {self.data.size} is cut into no whole tokens of {token} px; take a multiple of them"


PUBLISHED: dict[str, dict[str, Any]] = {
    "d14": {},
    **{f"d{bits}": {"multipliers": [1, 2, 4, 4, 4], "bits": bits, "patch": 1} for bits in (16, 24, 32, 64)},
}


def published(name: str) -> BitTokenizerConfig:
    """The sizes of a published tokenizer: `d14` (f8, 2x2 patches) or `d16`, `d24`, `d32`, `d64` (f16).

    Raises ValueError where there is no such one.
    """
    if name not in PUBLISHED:
        raise ValueError(f"there is no published tokenizer {name!r}; choose from {', '.join(PUBLISHED)}")
    return BitTokenizerConfig(**PUBLISHED[name])


def nano() -> BitTokenizerConfig:
    """Sizes that train on a CPU, 0.58 M parameters: f4, 530 tokens of 32 bits for a square of 128 px."""
    return BitTokenizerConfig(
        stem=4,
        width=64,
        multipliers=[1],
        res_blocks=1,
        bits=8,
        patch=2,
        sides=[1, 2, 3, 4, 6, 8, 12, 16, 24, 32],
        scale_dropout=0.1,
        l1_weight=1.0,
        commit_weight=0.025,
    )
