"""The knobs of PURE's experiments: sequence, backbone, adapters, sampling.

Knows names, types, defaults and legal ranges (`knob`); the defaults are the paper's (arXiv 2503.11073) where it has a
number. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.experiment import RestoringConfig, RestoringExperiment
from lit_pure.config.knobs import Problem, knob


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
        if self.heads > 0 and self.width % (2 * self.heads):
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


Projection = Literal["q", "k", "v", "out", "gate", "up", "down"]
"""The matrices of a block: of attention the first four, of the feed-forward the others."""


@dataclass
class AdapterConfig:
    """Low-rank adapters beside the backbone's matrices (arXiv 2106.09685, 2305.14314), through peft."""

    kind: Literal["none", "lora", "qlora"] = "none"
    """`lora` trains adapters alone; `qlora` keeps the frozen matrices in 4 bits, too."""
    rank: int = knob(16, low=1)
    """Inner width of an adapter."""
    alpha: float = knob(32.0, above=0)
    """Adapters are scaled by alpha / rank."""
    dropout: float = knob(0.0, low=0, high=0.9)
    """Dropout before an adapter."""
    projections: list[Projection] = knob(["q", "k", "v", "out", "gate", "up", "down"])
    """Which matrices of a block get one."""


GuidanceMode = Literal["none", "perception", "understanding", "full"]
"""Which answer segments exist before the image: nothing, the degradation sentence, the caption, or both (table 5)."""


@dataclass
class VocabularyConfig:
    """The one vocabulary of text, image codes and special tokens."""

    path: str = "data/vocabulary/pure.json"
    """A tokenizer JSON (Hugging Face `tokenizers`) with PURE's token names."""


@dataclass
class SequenceConfig:
    """How a sample becomes one sequence."""

    guidance_mode: GuidanceMode = "full"
    """Which answer segments stand before the image."""
    max_caption: int = knob(256, low=1)
    """Longest caption [tokens]; a longer one is cut."""
    text_length: int = knob(0, low=0)
    """Tokens that text before the image always takes, shorter text filled up; 0 leaves it (the paper). Otherwise the
    distance from an LQ code to its HQ code changes with the caption, and small models copy from LQ worse."""
    condition_dropout: float = knob(0.0, low=0, high=1)
    """Share of training samples without condition, [start, h, w, codes ...]; guidance needs some (not in the paper)."""


@dataclass
class RestorerConfig:
    """What a restorer is besides its weights."""

    guidance_mode: GuidanceMode
    """The mode that the backbone was trained in."""
    max_caption: int = knob(256, low=1)
    """Longest caption [tokens]."""
    text_length: int = knob(0, low=0)
    """Tokens that text always takes; 0: as many as it has."""
    size: int = knob(512, low=32)
    """Side of the model's square [px]."""
    scale: int = knob(4, low=1, high=16)
    """How many times a side is enlarged."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Decoding."""
    restoring: RestoringConfig = field(default_factory=RestoringConfig)
    """From squares to pictures."""


@dataclass
class PureExperiment(RestoringExperiment):
    """Trains and tests PURE: perceive, understand, restore."""

    family: str = "pure"
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    """Text, image codes and special tokens as ids."""
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    """Prompt and answer."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The transformer."""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    """What of the transformer is trained: all of it, or small matrices beside it."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Decoding."""

    def problems(self) -> Iterator[Problem]:
        kind = self.adapter.kind
        if kind == "none" or self.needs.weights:  # sampling trains nothing
            return
        if not self.needs.start:
            yield "adapter.kind", f"= {kind} trains beside weights that are there: name their run in needs.start"
        if not self.adapter.projections:
            yield "adapter.projections", "names no matrix; take at least one of q, k, v, out, gate, up, down"
        sizes = {"width": self.backbone.width, "ffn": self.backbone.ffn}
        if kind == "qlora" and (odd := [f"{name} {size}" for name, size in sizes.items() if size % 64]):
            yield "adapter.kind", f"= qlora rounds 64 weights of a row together: backbone.{odd[0]} is no multiple of 64"
