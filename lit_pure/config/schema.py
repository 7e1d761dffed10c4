"""Every knob of every experiment, with its unit and its range.

Knows names, types, defaults and legal ranges; those of data, models and training are in the files beside
this one. Knows nothing of files (`compose.py`
reads them), of torch, or of what a knob does: the classes that take these dataclasses in their constructors do. Each
docstring under a field says what it is; `knob(...)` says what it may be. Defaults are the paper's where the paper
(arXiv 2503.11073) has a number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.data import DataConfig, Problem, knob
from lit_pure.config.models import BackboneConfig, DemConfig, SamplingConfig, VQConfig
from lit_pure.config.training import AdapterConfig, OptimConfig, TrainerConfig

GuidanceMode = Literal["none", "perception", "understanding", "full"]
"""Which answer segments exist before the image: nothing, the degradation sentence, the caption, or both (table 5)."""

Level = Literal["small", "medium", "large"]
"""How strong a degradation is (paper section 3.3)."""
LEVELS: tuple[Level, ...] = ("small", "medium", "large")
"""All levels, weakest first."""

ColorFix = Literal["none", "wavelet", "adain"]
"""Where the colours of a restored picture come from: the model; the enlarged source's low frequencies; its moments."""

MetricName = Literal[
    "psnr", "ssim", "niqe", "lpips", "dists", "fid", "musiq", "maniqa", "clipiqa", "topiq",
    "psnr-rgb", "ssim-rgb", "lpips-vgg", "musiq-spaq", "musiq-paq2piq", "musiq-ava", "maniqa-pipal", "maniqa-kadid",
    "clipiqa+", "topiq-spaq", "topiq-flive",
]  # fmt: skip
"""The rows of `metrics/table.py`, known here so that a wrong name is refused before anything is imported."""


@dataclass
class Needs:
    """Experiments whose finished runs this one builds on; `name` takes the newest run, `name/version_3` that one."""

    tokenizer: str = ""
    """The run of the visual tokenizer; made first where it is missing."""
    dem: str = ""
    """The run of the degradation estimator; made first where it is missing."""
    weights: str = ""
    """The run whose backbone is sampled from; with it nothing is trained."""
    start: str = ""
    """The run whose backbone training starts from; empty: fresh weights."""


@dataclass
class SourceConfig:
    """A checkpoint that others published: `lit-pure weights` makes a finished run of it, nothing is trained."""

    layout: Literal["", "chameleon", "llamagen", "deresnet"] = ""
    """How the checkpoint is laid out: PURE's Hugging Face folder, LlamaGen's .pt, MM-RealSR's .pth; empty: trained."""
    repo: str = ""
    """Its repository, owner/name: on the Hugging Face hub, a deresnet's on GitHub."""
    revision: str = "main"
    """Branch, tag or commit of the repository; the tag of a release on GitHub."""
    files: list[str] = knob([])
    """Names of the files wanted; patterns such as model*.safetensors take what there is."""
    vocabulary: str = ""
    """The tokenizer JSON of a chameleon checkpoint: a URL, or the name of a file in the repository."""

    def problems(self) -> Iterator[Problem]:
        wanted = {"repo": self.repo, "files": self.files}
        if self.layout == "chameleon":
            wanted["vocabulary"] = self.vocabulary
        if self.layout and (absent := [name for name, value in wanted.items() if not value]):
            yield absent[0], f"is empty, which layout {self.layout} needs"


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
    source: SourceConfig = field(default_factory=SourceConfig)
    """Where the weights come from, if not from training."""
    data: DataConfig = field(default_factory=DataConfig)
    """Photographs and degradation."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and schedule."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length, devices, precision."""


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
class RestoringConfig:
    """How squares become pictures. Tests measure with it too, so that the default leaves alone what the model made."""

    color_fix: ColorFix = "none"
    """What gives a restored square its colours."""
    overlap: float = knob(0.125, low=0, high=0.5)
    """Least overlap of neighbouring squares of a photograph [share of the square's side]."""
    batch: int = knob(8, low=1)
    """Squares of a photograph restored at once; memory grows with it, the result stays."""


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
class EvaluationConfig:
    """What `run` measures and shows."""

    metrics: list[MetricName] = knob(["psnr", "ssim", "niqe"])
    """What restored and bicubic pictures are scored by."""
    protocol: str = ""
    """A published way to measure, NAME of data/protocols/NAME.yaml: its metrics, too, and its border; empty: none."""
    missing: Literal["refuse", "skip"] = "refuse"
    """What becomes of a metric whose weights are not here: the run is refused, or goes on without the metric."""
    pictures: int = knob(4, low=1)
    """Pictures shown at each validation."""
    keep: int = knob(100, low=0)
    """Test pictures of a set whose LQ and HQ are kept beside the restored one."""


def _only_backbones_are_cut(experiment: Experiment) -> Iterator[Problem]:
    if experiment.trainer.strategy == "fsdp":
        yield "trainer.strategy", f"= fsdp cuts backbones alone; a {experiment.family} is small: take ddp"


@dataclass
class TokenizerExperiment(Experiment):
    """Trains the visual tokenizer."""

    family: str = "tokenizer"
    vq: VQConfig = field(default_factory=VQConfig)
    """Architecture and losses."""

    def problems(self) -> Iterator[Problem]:
        yield from ((f"data.{key}", problem) for key, problem in self.data.without_hq(self.family))
        yield from _only_backbones_are_cut(self)


@dataclass
class DemExperiment(Experiment):
    """Trains the degradation estimator."""

    family: str = "dem"
    dem: DemConfig = field(default_factory=DemConfig)
    """Architecture and losses."""

    def problems(self) -> Iterator[Problem]:
        yield from ((f"data.{key}", problem) for key, problem in self.data.without_hq(self.family))
        yield from _only_backbones_are_cut(self)
        process = self.data.degradation
        second_blur = process.second_order_prob * process.second_blur_prob
        for key, ever in (("blur_prob", second_blur), ("noise_prob", process.second_order_prob)):
            if not getattr(process, key) and not ever:
                yield f"data.degradation.{key}", "= 0.0, and the second stage adds none: there is nothing to estimate"
        if self.trainer.precision == "bf16-true":
            yield "trainer.precision", "= bf16-true is too coarse for scores whose order counts; take bf16-mixed"


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
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    """What of the transformer is trained: all of it, or small matrices beside it."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Decoding."""
    restoring: RestoringConfig = field(default_factory=RestoringConfig)
    """From squares to pictures."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Test and pictures."""

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


FAMILIES: dict[str, type[Experiment]] = {
    "pure": PureExperiment,
    "tokenizer": TokenizerExperiment,
    "dem": DemExperiment,
}
"""The root dataclass of each family; a YAML's `family:` picks one."""
