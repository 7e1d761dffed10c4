"""What every experiment has, whatever its family, and what every family has that restores pictures.

Knows names, types, defaults and legal ranges (`knob`). Knows no family, and imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.data import DataConfig
from lit_pure.config.knobs import Problem, knob
from lit_pure.config.training import OptimConfig, TrainerConfig

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
    """The family that this experiment is one of; it decides which other keys there are."""
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
class RestoringConfig:
    """How squares become pictures. Tests measure with it too, so that the default leaves alone what the model made."""

    color_fix: ColorFix = "none"
    """What gives a restored square its colours."""
    overlap: float = knob(0.125, low=0, high=0.5)
    """Least overlap of neighbouring squares of a photograph [share of the square's side]."""
    batch: int = knob(8, low=1)
    """Squares of a photograph restored at once; memory grows with it, the result stays."""


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


@dataclass
class RestoringExperiment(Experiment):
    """What every experiment of a family has that restores pictures."""

    restoring: RestoringConfig = field(default_factory=RestoringConfig)
    """From squares to pictures."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Test and pictures."""


def small_model_problems(experiment: Experiment) -> Iterator[Problem]:
    """What a family refuses that is tested on HQ pictures, and whose model is too small to be cut into pieces."""
    yield from ((f"data.{key}", problem) for key, problem in experiment.data.without_hq(experiment.family))
    if experiment.trainer.strategy == "fsdp":
        yield "trainer.strategy", f"= fsdp cuts backbones alone; a {experiment.family} is small: take ddp"
