"""The knobs of PURE's experiments: sequence, backbone, adapters, sampling.

Knows names, types, defaults and legal ranges (`knob`); the defaults are the paper's (arXiv 2503.11073) where it has a
number. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from lit_pure.config.experiment import RestoringConfig, RestoringExperiment
from lit_pure.config.knobs import Problem, identity, knob


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
    """Initial embedding and head rows of image codes: `codebook` gives similar codes similar rows (not published)."""
    lq_prior: float = knob(0.0, low=0)
    """Weight, learned from here, of a code's cosine to the LQ picture's code in its logit; 0: none, as in PURE."""
    lq_prior_follows: bool = False
    """Whether that weight is a linear function of the hidden state, so that it follows what the model has perceived."""
    loss_chunk: int = knob(1024, low=1)
    """Label positions whose logits are in memory at one time."""
    z_loss: float = knob(0.0, low=0, high=1)
    """Weight of the squared log-normaliser of the logits, which prevents drift (Lumina-mGPT: 1e-5)."""
    attention: Literal["auto", "sdpa", "flash", "varlen"] = "auto"
    """What computes attention: PyTorch's SDPA, flash-attn, or PyTorch's `varlen_attn`; `auto` takes `flash` where that
    is installed and fits, else `sdpa`. A choice of speed: results differ by rounding, and weights do not keep it."""

    def problems(self) -> Iterator[Problem]:
        if self.heads > 0 and self.width % (2 * self.heads):
            yield "heads", f"{self.heads} heads do not cut width {self.width} into even parts"


PLAIN: dict[str, Any] = {"engine": "plain", "window": 16, "drafts": "lq", "one_shape": False}
"""What records of results say of the engine where it makes no difference."""


@dataclass
class SamplingConfig:
    """How image tokens are sampled (paper section 3.4, equation 2); text is always greedy."""

    guidance: float = knob(0.8, low=0, high=20)
    """Classifier-free guidance g in u + g (c - u); 1 uses only the conditional logits."""
    temperature: float = knob(0.9, above=0, high=10)
    """Divides the logits after top-k."""
    top_k: Literal["dynamic", "fixed"] = "dynamic"
    """`dynamic` computes k from the entropy of each token; `fixed` uses `k`."""
    k: int = knob(2000, low=1)
    """k if `top_k` is `fixed`."""
    k_min: int = knob(1, low=1)
    """k of equation 2 at low entropy."""
    k_max: int = knob(2000, low=1)
    """k of equation 2 at high entropy."""
    mu: float = knob(5.0, low=0, high=20)
    """Entropy at which k is half-way between `k_min` and `k_max` [nats]."""
    max_text: int = knob(256, low=1)
    """Longest answer text [tokens]; then the image begins."""
    seed: int = knob(0, low=0)
    """Seed of the noise, which is fixed per (seed, image, position)."""
    engine: Literal["plain", "jacobi"] = "plain"
    """`plain` takes one pass of the backbone per cell; `jacobi` takes fewer, and gives exactly the same tokens."""
    window: int = knob(16, low=2, high=256)
    """Tokens in one pass of `jacobi`."""
    dtype: Literal["stored", "float32", "bfloat16"] = "stored"
    """Dtype of the backbone when it samples; `stored`: that of its weights."""
    quantize: Literal["none", "int8", "fp8"] = "none"
    """Quantization of the blocks' weights to 8 bits (torchao, weight only); reads half as much as bfloat16."""
    codes: Literal["drawn", "lq"] = "drawn"
    """Whose codes the picture has: those that the backbone draws, or the LQ picture's own, for the decoder alone."""
    drafts: Literal["lq", "left", "random"] = "lq"
    """First guess of a code for `jacobi`: the LQ picture's code of the cell, that of the left cell, or any code."""
    one_shape: bool = False
    """Both engines feed `window` ids in every pass and read the whole caches, so that both round alike: then they draw
    the same tokens in bfloat16, too (measured on a CPU). `plain` is slower with it by far, `jacobi` a little."""
    prior: float = knob(0.0, low=0, high=100)
    """Added to the learned weight of `backbone.lq_prior`: the higher, the closer a picture stays to its source."""

    def problems(self) -> Iterator[Problem]:
        if self.k_min > self.k_max:
            yield "k_min", f"{self.k_min} is above k_max {self.k_max}"

    def identity(self) -> dict[str, Any]:
        """All that a picture depends on. In float32 that is no engine: each draws the tokens of the plain one."""
        same = replace(self, **PLAIN) if self.dtype == "float32" else self
        return identity(same, ["codes", "prior", "one_shape"])


Projection = Literal["q", "k", "v", "out", "gate", "up", "down"]
"""The matrices of a block: the first four of attention, the rest of the feed-forward."""


@dataclass
class AdapterConfig:
    """Low-rank adapters beside the backbone's matrices (arXiv 2106.09685, 2305.14314), through peft."""

    kind: Literal["none", "lora", "qlora"] = "none"
    """`lora` trains only adapters; `qlora` also keeps the frozen matrices in 4 bits."""
    rank: int = knob(16, low=1)
    """Inner width of an adapter."""
    alpha: float = knob(32.0, above=0)
    """Scale of adapters: alpha / rank."""
    dropout: float = knob(0.0, low=0, high=0.9)
    """Dropout before an adapter."""
    projections: list[Projection] = knob(["q", "k", "v", "out", "gate", "up", "down"])
    """Matrices of a block that get an adapter."""


GuidanceMode = Literal["none", "perception", "understanding", "full"]
"""Answer segments before the image: nothing, the degradation sentence, the caption, or both (paper, table 5)."""


@dataclass
class VocabularyConfig:
    """The one vocabulary of text, image codes and special tokens."""

    path: str = "data/vocabulary/pure.json"
    """A tokenizer JSON (Hugging Face `tokenizers`) with PURE's token names."""


@dataclass
class SequenceConfig:
    """How a sample becomes one sequence."""

    guidance_mode: GuidanceMode = "full"
    """Answer segments before the image."""
    max_caption: int = knob(256, low=1)
    """Longest caption [tokens]; longer ones are cut."""
    text_length: int = knob(0, low=0)
    """Fixed number of tokens for the text before the image, with filler; 0: variable, as in the paper. With a variable
    length, the distance from an LQ code to its HQ code depends on the caption, and small models copy from LQ worse."""
    condition_dropout: float = knob(0.0, low=0, high=1)
    """Share of training samples without condition, [start, h, w, codes ...]; guidance needs them (not in the paper)."""
    misread: float = knob(0.0, low=0, high=1)
    """In training each sample draws its share of HQ codes that are read wrong, up to this, so that the model can live
    with what it draws itself; labels stay true (not in the paper; NSARM does it with bits)."""


@dataclass
class RestorerConfig:
    """The settings of a restorer, beside its weights."""

    guidance_mode: GuidanceMode
    """The mode in which the backbone was trained."""
    max_caption: int = knob(256, low=1)
    """Longest caption [tokens]."""
    text_length: int = knob(0, low=0)
    """Fixed number of tokens for text; 0: variable."""
    size: int = knob(512, low=32)
    """Side of the model's square [px]."""
    scale: int = knob(4, low=1, high=16)
    """Factor by which a side is enlarged."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Decoding."""
    restoring: RestoringConfig = field(default_factory=RestoringConfig)
    """From squares to pictures."""


@dataclass
class PureExperiment(RestoringExperiment):
    """Trains and tests PURE: perceive, understand, restore."""

    family: str = "pure"
    draws_codes: ClassVar[bool] = True
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    """Text, image codes and special tokens as ids."""
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    """Prompt and answer."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The transformer."""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    """What is trained: the whole transformer, or small matrices added to it."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Decoding."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.sampling.prior and not self.backbone.lq_prior and not self.needs.weights:
            yield (
                "sampling.prior",
                "adds to the weight of backbone.lq_prior, which is 0: set that above 0, or this to 0",
            )
        kind = self.adapter.kind
        if kind == "none" or self.needs.weights:  # sampling trains nothing
            return
        if not self.needs.start:
            yield "adapter.kind", f"= {kind} adds adapters to trained weights: name their run in needs.start"
        if not self.adapter.projections:
            yield "adapter.projections", "names no matrix; take at least one of q, k, v, out, gate, up, down"
        sizes = {"width": self.backbone.width, "ffn": self.backbone.ffn}
        if kind == "qlora" and (odd := [f"{name} {size}" for name, size in sizes.items() if size % 64]):
            yield "adapter.kind", f"= qlora rounds 64 weights of a row together: backbone.{odd[0]} is no multiple of 64"
