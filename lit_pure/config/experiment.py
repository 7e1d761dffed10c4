"""The knobs of every experiment, whatever its family, and of every experiment that restores pictures.

Knows names, types, defaults and legal ranges (`knob`). Knows no family, and imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from lit_pure.config.data import DataConfig
from lit_pure.config.knobs import Problem, identity, knob
from lit_pure.config.training import OptimConfig, TrainerConfig

ColorFix = Literal["none", "wavelet", "adain"]
"""Source of a restored picture's colours: the model; the enlarged source's low frequencies; its mean and variance."""


MetricName = Literal[
    "psnr", "ssim", "niqe", "lpips", "dists", "fid", "musiq", "maniqa", "clipiqa", "topiq",
    "psnr-rgb", "ssim-rgb", "lpips-vgg", "musiq-spaq", "musiq-paq2piq", "musiq-ava", "maniqa-pipal", "maniqa-kadid",
    "clipiqa+", "topiq-spaq", "topiq-flive",
]  # fmt: skip
"""The rows of `metrics/table.py`, listed here so that a wrong name is refused before anything is imported."""
BaselineName = Literal["bicubic", "realesrgan-x4plus", "realesr-animevideov3", "realsr-df2k"]
"""The rows of `baselines/table.py`."""


STARTS = ("start", "transformer", "transformation")
"""Roles of runs that a training continues: their weights became part of its own, which need them no more."""


@dataclass
class Needs:
    """Experiments whose finished runs this one needs; `name` takes the newest run, `name/version_3` that version."""

    tokenizer: str = ""
    """The run of the visual tokenizer; made first if it is missing."""
    dem: str = ""
    """The run of the degradation estimator; made first if it is missing."""
    transformer: str = ""
    """The run whose next-scale transformer is trained on; made first if it is missing."""
    transformation: str = ""
    """The run whose transformation network is trained on; made first if it is missing."""
    weights: str = ""
    """The run from whose backbone to sample; nothing is trained then."""
    start: str = ""
    """The run from whose backbone training starts; empty: fresh weights."""

    def made_first(self) -> dict[str, str]:
        """Those that are made first where they are missing, by role; none where nothing is trained."""
        roles = () if self.weights else ("tokenizer", "dem", "transformer", "transformation")
        return {role: need for role in roles if (need := getattr(self, role))}


@dataclass
class SourceConfig:
    """A published checkpoint: `lit-pure weights` makes a finished run of it, nothing is trained."""

    layout: Literal["", "chameleon", "llamagen", "deresnet", "infinity", "infinity_vae", "nsarm"] = ""
    """Format of the checkpoint: PURE's Hugging Face folder, LlamaGen's .pt, MM-RealSR's .pth, Infinity's transformer,
    its tokenizer, NSARM.pth; empty: no checkpoint."""
    repo: str = ""
    """Its repository, owner/name, on the Hugging Face hub; for deresnet and nsarm on GitHub."""
    revision: str = "main"
    """Branch, tag or commit of the repository; the tag of a release on GitHub."""
    files: list[str] = knob([])
    """Names of the files; patterns such as model*.safetensors match any number of files."""
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
    """The family of this experiment; it decides which other keys exist."""
    name: str = ""
    """Set by the composer: the experiment's path below `experiments/`."""
    base: str = ""
    """The experiment from which this one inherits all other settings."""
    mixin: str = ""
    """Files laid over this one, for example debug/fast; several with commas between them, the last one wins."""
    seed: int = knob(0, low=0)
    """Every random draw comes from it, together with epoch and sample index."""
    needs: Needs = field(default_factory=Needs)
    """Runs that must be finished first."""
    source: SourceConfig = field(default_factory=SourceConfig)
    """Source of published weights, instead of training."""
    data: DataConfig = field(default_factory=DataConfig)
    """Photographs and degradation."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and schedule."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length, devices, precision."""


YOUNGER = ("wavelet_levels", "fidelity", "tiles", "round_source")
"""Knobs of `RestoringConfig` for which records of older pictures, and scores of studies, have no word."""


@dataclass
class RestoringConfig:
    """From restored squares to pictures. Tests use it too, so the default does not change what the model made."""

    color_fix: ColorFix = "none"
    """Source of a restored square's colours."""
    wavelet_levels: int = knob(5, low=1, high=8)
    """Levels of `color_fix: wavelet`; fewer take finer detail from the source, and not its colours alone (paper: 5)."""
    fidelity: float = knob(0.0, low=0, high=1)
    """How much the decoder takes from the enlarged source, if it can see it; 0: codes alone, as in PURE."""
    round_source: bool = False
    """Enlarge the source in 8 bits, as Pillow and so PURE's published code does; some per cent of LQ codes differ."""
    overlap: float = knob(0.125, low=0, high=0.5)
    """Least overlap of neighbouring squares of a photograph [share of the square's side]."""
    batch: int = knob(8, low=1)
    """Squares of a photograph restored at once; it changes the memory, not the result."""
    workers: int = knob(0, low=0)
    """Processes that share the squares of a photograph on a CPU, one thread each; 0: one per core, 1: none. No result
    depends on it."""
    tiles: Literal["blend", "continue"] = "blend"
    """How squares of a photograph meet: `blend` restores each for itself and blends their pixels; `continue` gives each
    the codes of its neighbours where they overlap, and renders all codes as one picture. Only for families of codes."""

    def identity(self) -> dict[str, Any]:
        """All that a picture depends on."""
        return identity(self, YOUNGER, ["batch", "workers"])


@dataclass
class EvaluationConfig:
    """What a run measures and shows."""

    metrics: list[MetricName] = knob(["psnr", "ssim", "niqe"])
    """Metrics of restored and bicubic pictures."""
    baselines: list[BaselineName] = knob([])
    """Methods of others that the test measures beside bicubic: `lit-pure baseline --list`; seconds for a picture."""
    protocol: str = ""
    """A published protocol, NAME of data/protocols/NAME.yaml: adds its metrics and sets its border; empty: none."""
    missing: Literal["refuse", "skip"] = "refuse"
    """If the weights of a metric are missing: refuse the run, or skip the metric."""
    pictures: int = knob(4, low=1)
    """Pictures shown at each validation."""
    keep: int = knob(100, low=0)
    """Test pictures of a set whose LQ and HQ are kept beside the restored picture."""


@dataclass
class RestoringExperiment(Experiment):
    """What every experiment has whose family restores pictures."""

    draws_codes: ClassVar[bool] = False
    """Whether its family draws a grid of codes, so that a square can continue its neighbours."""
    restoring: RestoringConfig = field(default_factory=RestoringConfig)
    """From squares to pictures."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Metrics, and pictures to show and keep."""

    def problems(self) -> Iterator[Problem]:
        if self.restoring.tiles == "continue" and not self.draws_codes:
            yield "restoring.tiles", f"= continue needs codes to continue, and {self.family} draws none: take blend"


def small_model_problems(experiment: Experiment) -> Iterator[Problem]:
    """Problems for families that are tested on HQ pictures, and whose models are too small to be sharded."""
    yield from ((f"data.{key}", problem) for key, problem in experiment.data.without_hq(experiment.family))
    if experiment.trainer.strategy == "fsdp":
        yield "trainer.strategy", f"= fsdp cuts backbones alone; a {experiment.family} is small: take ddp"
