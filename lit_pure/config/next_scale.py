"""The knobs of the next-scale transformer and of its decoding, and its published sizes.

Knows names, types, defaults and legal ranges (`knob`); the defaults are Infinity's 2B (arXiv 2412.04431), which NSARM
(arXiv 2510.00820) continues. Imports no torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lit_pure.config.knobs import Problem, identity, knob


@dataclass
class NextScaleConfig:
    """The transformer that predicts all bits of the next scale at once; the defaults are Infinity's 2B."""

    width: int = knob(2048, low=8)
    """Channels of the residual stream."""
    layers: int = knob(32, low=1)
    """Blocks."""
    heads: int = knob(16, low=1)
    """Attention heads."""
    ffn: int = knob(8192, low=8)
    """Hidden channels of the feed-forward."""
    bits: int = knob(32, low=1)
    """Bits of a token: the tokenizer's d, or 4 d if a token is a patch of 2x2 codes."""
    levels: int = knob(15, low=1)
    """Rows of the level embedding: the most scales that a picture can have."""
    text_width: int = knob(2048, low=1)
    """Channels of the text encoder's tokens."""
    text_length: int = knob(512, low=1)
    """Rows of the learned empty caption: the longest caption [tokens]."""
    pool_heads: int = knob(16, low=1)
    """Heads of the attention that pools the caption into one vector."""
    rope_theta: float = knob(10000.0, above=0)
    """Base of the rotary position angles."""
    norm_eps: float = knob(1e-6, above=0, high=1)
    """Epsilon of all normalisations."""
    drop_path: float = knob(0.1, low=0, high=0.9)
    """Share of samples for which the last block is skipped in training; it grows linearly with depth, from 0."""
    gate: float = knob(0.0, low=0, high=1)
    """Added to the gates of attention and feed-forward at first: 0 as published; small models learn sooner from 1."""
    attention: Literal["sdpa", "flex"] = "sdpa"
    """Training's self-attention: `sdpa` with a dense mask, or `flex`, which skips blocks that no token may see, for
    long sequences on CUDA; on CPUs, where it has no gradient, `sdpa` stands in for it."""

    def problems(self) -> Iterator[Problem]:
        if self.heads > 0 and self.width % (4 * self.heads):
            yield "heads", f"{self.heads} heads do not cut width {self.width} into multiples of 4, for 2-D positions"
        if self.pool_heads > 0 and self.width % self.pool_heads:
            yield "pool_heads", f"{self.pool_heads} heads do not cut width {self.width} into equal parts"


SIZES: dict[str, dict[str, Any]] = {
    "nano": {"width": 128, "layers": 4, "heads": 4, "ffn": 512, "bits": 32, "text_width": 64, "text_length": 16}
    | {"pool_heads": 4, "drop_path": 0.0, "gate": 1.0},
    "layer12": {"width": 768, "layers": 12, "heads": 8, "ffn": 3072},
    "layer16": {"width": 1152, "layers": 16, "heads": 12, "ffn": 4608},
    "layer24": {"width": 1536, "layers": 24, "heads": 16, "ffn": 6144},
    "2b": {},
    "8b": {"width": 3584, "layers": 40, "heads": 28, "ffn": 14336, "bits": 56},
}
"""What differs from the defaults in each size: ours for two cores, and Infinity's."""


def next_scale_size(name: str) -> NextScaleConfig:
    """The configuration of one of `SIZES`. Raises ValueError for another name."""
    if name not in SIZES:
        raise ValueError(f"{name} is no size of the next-scale transformer; choose one of {', '.join(SIZES)}")
    return NextScaleConfig(**SIZES[name])


@dataclass
class ScaleSamplingConfig:
    """How bits are drawn, scale by scale; the defaults are NSARM's."""

    tau: list[float] = knob([0.5], above=0)
    """Divides the logits before guidance: one number, or one for each scale."""
    guidance: list[float] = knob([1.0], low=0, high=20)
    """Classifier-free guidance g in u + g (c - u): one number, or one for each scale; 1 everywhere needs no second
    branch."""
    guidance_layer: int = knob(0, high=0)
    """Where guidance acts: 0 on the logits; -1 on the hidden states after the last block, -2 after the one before."""
    top_p: float = knob(0.97, above=0.5, high=1)
    """A bit whose likelier value has at least this probability takes it."""
    seed: int = knob(0, low=0)
    """Seed of the noise, which is fixed per (seed, image, scale, bit)."""

    def identity(self) -> dict[str, Any]:
        """All that a picture depends on."""
        return identity(self)

    def problems(self) -> Iterator[Problem]:
        for name in ("tau", "guidance"):
            if not getattr(self, name):
                yield name, "is empty: give one number, or one for each scale"

    @property
    def guided(self) -> bool:
        """Whether any scale needs the branch without caption."""
        return any(value != 1 for value in self.guidance)


def per_scale(values: Sequence[float], scales: int, name: str) -> list[float]:
    """One value for each scale: the only one repeated, or the list itself. Raises ValueError for another length."""
    if len(values) not in (1, scales):
        raise ValueError(f"{name} has {len(values)} values for {scales} scales; give one, or one for each scale")
    return list(values) * (scales if len(values) == 1 else 1)
