"""Every knob of every experiment, with its unit and its range.

Knows names, types, defaults and legal ranges; those of data are in `data.py`. Knows nothing of files (`compose.py`
reads them), of torch, or of what a knob does: the classes that take these dataclasses in their constructors do. Each
docstring under a field says what it is; `knob(...)` says what it may be. Defaults are the paper's where the paper
(arXiv 2503.11073) has a number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.data import DataConfig, Problem, knob

GuidanceMode = Literal["none", "perception", "understanding", "full"]
"""Which answer segments exist before the image: nothing, the degradation sentence, the caption, or both (table 5)."""

Level = Literal["small", "medium", "large"]
"""How strong a degradation is (paper section 3.3)."""
LEVELS: tuple[Level, ...] = ("small", "medium", "large")
"""All levels, weakest first."""


MetricName = Literal["psnr", "ssim", "niqe"]
"""The rows of `metrics/table.py`, known here so that a wrong name is refused before anything is imported."""


@dataclass
class OptimConfig:
    """AdamW with linear warm-up and cosine decay (paper section 4.1; betas and decay as in the official training)."""

    lr: float = knob(4e-4, above=0, high=1)
    """Peak learning rate."""
    min_lr: float = knob(0.0, low=0, high=1)
    """Learning rate at the last step."""
    warmup: float = knob(0.25, low=0, high=1)
    """Share of `trainer.max_steps` spent warming up (the paper: 0.5 of 2 epochs)."""
    betas: tuple[float, float] = knob((0.9, 0.95), low=0, high=0.99999)
    """Decay of AdamW's first and second moments."""
    eps: float = knob(1e-8, above=0, high=1)
    """AdamW's epsilon."""
    weight_decay: float = knob(0.1, low=0, high=1)
    """Decoupled weight decay, on all parameters as in the official training."""


@dataclass
class TrainerConfig:
    """What is handed to Lightning's Trainer."""

    max_steps: int = knob(1484, low=1)
    """Optimizer steps."""
    val_every: int = knob(500, low=1)
    """Steps between validations."""
    log_every: int = knob(10, low=1)
    """Steps between log entries."""
    accumulate: int = knob(1, low=1)
    """Batches per optimizer step."""
    gradient_clip: float = knob(4.0, low=0)
    """Largest global norm of the gradient; 0 does not clip."""
    accelerator: str = "auto"
    """Lightning's accelerator: auto, cpu, gpu, mps."""
    devices: str = "auto"
    """Lightning's devices: auto, a count, or a list such as "0,1"."""
    num_nodes: int = knob(1, low=1)
    """Machines."""
    strategy: str = "auto"
    """Lightning's strategy: auto, ddp, ..."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    """Numbers to compute in."""


@dataclass
class Needs:
    """Experiments whose finished runs this one builds on; `name` takes the newest run, `name/version_3` that one."""

    tokenizer: str = ""
    """The run of the visual tokenizer; made first where it is missing."""
    dem: str = ""
    """The run of the degradation estimator; made first where it is missing."""
    weights: str = ""
    """The run whose backbone is sampled from; with it nothing is trained."""


@dataclass
class Experiment:
    """What every experiment has."""

    family: str = "pure"
    """Which experiment this is: pure, tokenizer or dem."""
    name: str = ""
    """Set by the composer: the experiment's path below `experiments/`."""
    base: str = ""
    """The experiment that this one is a difference to."""
    seed: int = knob(0, low=0)
    """Every random draw comes from it, together with epoch and sample index."""
    needs: Needs = field(default_factory=Needs)
    """Runs that must be finished first."""
    data: DataConfig = field(default_factory=DataConfig)
    """Photographs and degradation."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and schedule."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length, devices, precision."""


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
    """Weight of the ranking loss."""
    anchor_weight: float = knob(1.0, low=0)
    """Weight of the anchor loss (nothing scores 0, the strongest degradation scores 1)."""
    calibration: int = knob(1024, low=8)
    """Samples that the thresholds between small, medium and large are taken from (a third each)."""

    def problems(self) -> Iterator[Problem]:
        if len({len(self.features), len(self.blocks), len(self.downscales)}) > 1:
            yield "features", "features, blocks and downscales must have one entry per stage each"


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
    condition_dropout: float = knob(0.0, low=0, high=1)
    """Share of training samples without condition, [start, h, w, codes ...]; guidance needs some (not in the paper)."""


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

    def problems(self) -> Iterator[Problem]:
        if self.k_min > self.k_max:
            yield "k_min", f"{self.k_min} is above k_max {self.k_max}"


@dataclass
class EvaluationConfig:
    """What `run` measures and shows."""

    metrics: list[MetricName] = knob(["psnr", "ssim", "niqe"])
    """What restored and bicubic pictures are scored by."""
    pictures: int = knob(4, low=1)
    """Pictures shown at each validation."""


@dataclass
class TokenizerExperiment(Experiment):
    """Trains the visual tokenizer."""

    family: str = "tokenizer"
    vq: VQConfig = field(default_factory=VQConfig)
    """Architecture and losses."""


@dataclass
class DemExperiment(Experiment):
    """Trains the degradation estimator."""

    family: str = "dem"
    dem: DemConfig = field(default_factory=DemConfig)
    """Architecture and losses."""


@dataclass
class PureExperiment(Experiment):
    """Trains and tests PURE: perceive, understand, restore."""

    family: str = "pure"
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    """Ids."""
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    """Prompt and answer."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The transformer."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Decoding."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Test and pictures."""


FAMILIES: dict[str, type[Experiment]] = {
    "pure": PureExperiment,
    "tokenizer": TokenizerExperiment,
    "dem": DemExperiment,
}
"""The root dataclass of each family; a YAML's `family:` picks one."""
