"""The knobs of models: tokenizer, degradation estimator, backbone, and how the backbone is sampled from.

Knows names, types, defaults and legal ranges (`knob`); the defaults are the published ones. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lit_pure.config.data import Problem, knob


@dataclass
class VQConfig:
    """LlamaGen's VQ tokenizer (arXiv 2406.06525); the defaults are its VQ-8."""

    stem: int = knob(1, low=1, high=8)
    """Side of the pixel block folded into channels before the first convolution [px]; 1 is LlamaGen's."""
    channels: list[int] = knob([128, 256, 256, 512], low=32)
    """Channels per level [multiples of 32]; each level after the first halves the resolution."""
    res_blocks: int = knob(2, low=1, high=8)
    """Residual blocks per level of the encoder; the decoder has one more."""
    attention: bool = True
    """Self-attention at the deepest level."""
    z_channels: int = knob(256, low=1)
    """Channels of the latent before it is projected to `code_dim`."""
    codes: int = knob(16384, low=2)
    """Entries of the codebook."""
    code_dim: int = knob(8, low=1)
    """Length of a code, L2-normalised."""
    l1_weight: float = knob(0.0, low=0)
    """Weight of the absolute error of the pixels [-1, 1]."""
    l2_weight: float = knob(1.0, low=0)
    """Weight of the squared error of the pixels [-1, 1]."""
    commit_weight: float = knob(0.25, low=0)
    """Weight of the commitment loss."""
    restart_every: int = knob(0, low=0)
    """Steps between looks for unused codes, which restart from encoder outputs; 0 never (LlamaGen)."""

    @property
    def downsample(self) -> int:
        """Pixels per code along a side, f."""
        return int(self.stem * 2 ** (len(self.channels) - 1))

    def problems(self) -> Iterator[Problem]:
        if bad := [width for width in self.channels if width % 32]:
            yield "channels", f"{bad} are no multiples of 32, which group normalisation needs"
        if self.downsample > 32 or 32 % self.downsample:
            yield "channels", f"with stem {self.stem} make {self.downsample} px per code; it must divide 32"


@dataclass
class DemConfig:
    """Degradation estimator of MM-RealSR (arXiv 2205.05065); the defaults are its DEResNet."""

    features: list[int] = knob([64, 64, 64, 128], low=1)
    """Channels per stage."""
    blocks: list[int] = knob([2, 2, 2, 2], low=1)
    """Residual blocks per stage."""
    downscales: list[int] = knob([1, 1, 2, 1], low=1, high=8)
    """Stride of each stage."""
    margin: float = knob(0.05, low=0, high=1)
    """Score that a more degraded image must exceed a less degraded one by."""
    rank_weight: float = knob(1.0, low=0)
    """Weight of the ranking loss (published: 0.01, beside a reconstruction loss that is not here)."""
    anchor_weight: float = knob(0.01, low=0)
    """Weight of the anchor loss: nothing scores 0, the strongest degradation 1 (published: 0.01 of `rank_weight`)."""
    calibration: int = knob(2048, low=8)
    """Samples that the thresholds between small, medium and large are taken from (a third each)."""

    def problems(self) -> Iterator[Problem]:
        if len({len(self.features), len(self.blocks), len(self.downscales)}) > 1:
            yield "features", "features, blocks and downscales must have one entry per stage each"


@dataclass
class BackboneConfig:
    """The decoder-only transformer; the defaults are PURE's 7.08B."""

    width: int = knob(4096, low=8)
    """Channels of the residual stream."""
    layers: int = knob(32, low=1)
    """Decoder blocks."""
    heads: int = knob(32, low=1)
    """Attention heads."""
    ffn: int = knob(11008, low=8)
    """Hidden channels of the gated feed-forward."""
    rope_theta: float = knob(10000.0, above=0)
    """Base of the rotary position angles."""
    norm_eps: float = knob(1e-5, above=0, high=1)
    """Epsilon of all normalisations."""
    dropout: float = knob(0.05, low=0, high=0.9)
    """Residual dropout after attention and after feed-forward."""
    code_rows: Literal["random", "codebook"] = "random"
    """Where embedding and head rows of image codes start: `codebook` gives similar codes similar rows (not public)."""
    loss_chunk: int = knob(1024, low=1)
    """Label positions whose logits exist at one time."""
    z_loss: float = knob(0.0, low=0, high=1)
    """Weight of the squared normaliser of the logits, which keeps these from drifting (Lumina-mGPT: 1e-5)."""

    def problems(self) -> Iterator[Problem]:
        if self.width % (2 * self.heads):
            yield "heads", f"{self.heads} heads do not cut width {self.width} into even parts"


@dataclass
class SamplingConfig:
    """How image tokens are drawn (paper section 3.4, equation 2); text is always greedy."""

    guidance: float = knob(0.8, low=0, high=20)
    """Classifier-free guidance g in u + g (c - u); 1 uses the conditional logits alone."""
    temperature: float = knob(0.9, above=0, high=10)
    """Divides the logits after top-k."""
    top_k: Literal["dynamic", "fixed"] = "dynamic"
    """`dynamic` takes k from the entropy of each token, `fixed` takes `k`."""
    k: int = knob(2000, low=1)
    """The k of `fixed`."""
    k_min: int = knob(1, low=1)
    """The k of equation 2 at no entropy."""
    k_max: int = knob(2000, low=1)
    """The k of equation 2 at high entropy."""
    mu: float = knob(5.0, low=0, high=20)
    """Entropy at which k is half-way [nats]."""
    max_text: int = knob(256, low=1)
    """Longest answer text [tokens]; then the image begins."""
    seed: int = knob(0, low=0)
    """Noise is fixed per (seed, image, position)."""
    engine: Literal["plain", "jacobi"] = "plain"
    """`plain` makes one pass of the backbone per cell; `jacobi` fewer, with the very same tokens."""
    window: int = knob(16, low=2, high=256)
    """Tokens that `jacobi` feeds in one pass."""
    dtype: Literal["stored", "float32", "bfloat16"] = "stored"
    """Numbers that the backbone computes in when it samples; `stored` are those of its weights."""
    quantize: Literal["none", "int8", "fp8"] = "none"
    """Weights of the blocks rounded to 8 bits (torchao, weight only); half the memory to read per token of bfloat16."""
    drafts: Literal["lq", "left", "random"] = "lq"
    """First guess of a code for `jacobi`: the LQ picture's at the same cell, the cell's to the left, or any."""

    def problems(self) -> Iterator[Problem]:
        if self.k_min > self.k_max:
            yield "k_min", f"{self.k_min} is above k_max {self.k_max}"
