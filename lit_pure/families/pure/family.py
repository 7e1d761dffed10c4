"""PURE's answers to what the other rooms ask of a family.

Knows which part of PURE answers what. Imports no torch by itself: parts that compute are imported when they are asked.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import Experiment, Needs, RestoringExperiment
from lit_pure.config.project import locate
from lit_pure.config.pure import PureExperiment
from lit_pure.families.family import Family, Said
from lit_pure.families.pure.sequence.template import PERCEIVES, degradation_sentence
from lit_pure.families.pure.start_check import NO_BASE, NO_TOKENIZER, check_start, require_start
from lit_pure.images.labels import DEM_DEGRADATION, SOURCE_CAPTION
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

if TYPE_CHECKING:
    from torch import Tensor

    from lit_pure.families.pure.given_codes import GivenCodes
    from lit_pure.families.pure.restorer import Restorer
    from lit_pure.families.pure.sequence.assemble import AnswerWords
    from lit_pure.images.tiles import Tile
    from lit_pure.planning.plan import Plan
    from lit_pure.planning.restoring import RestoringMemory


class Pure(Family):
    """Perceive, understand, restore: one transformer writes words and picture."""

    config = PureExperiment
    module = "lit_pure.lit.pure"
    trained = "backbone"
    changeable = ("sampling", "restoring")
    faster = ("backbone.attention",)
    seed = "sampling.seed"
    folder_kind = "restorer"
    beside = ("tokenizer",)
    maps = ("entropy", "k")
    given_by = ("dem",)

    def check(self, experiment: Experiment) -> None:
        """Refuse what the training of a backbone lacks, and a start that does not fit."""
        assert isinstance(experiment, PureExperiment)
        if not experiment.needs.tokenizer:
            raise ConfigError(NO_TOKENIZER + (NO_BASE if not experiment.base else ""))
        mode = experiment.sequence.guidance_mode
        if mode in PERCEIVES and not experiment.needs.dem:
            raise ConfigError(
                f"needs.dem names no run; guidance mode {mode} needs its labels: take dem/bsds500/shipped"
            )
        if not locate(experiment.vocabulary.path).is_file():
            raise ConfigError(f"vocabulary.path = {experiment.vocabulary.path}: no such file; see lit-pure vocabulary")
        if experiment.needs.start:
            check_start(require_start(experiment.needs.start), experiment)
            _check_adapters(experiment.adapter.kind)

    def start(self, name: str) -> Run:
        """The run whose backbone is taken."""
        return require_start(name)

    def restorer(self, run: Run, settings: Experiment) -> "Restorer":
        """The trained backbone with the tokenizer that it was trained with."""
        from lit_pure.families.pure.build import trained_restorer
        from lit_pure.models import weights

        assert isinstance(settings, PureExperiment)
        tokenizer = weights.load_tokenizer(self.weights(run)["tokenizer"].weights)
        return trained_restorer(settings, tokenizer, run)

    def restorer_in(self, folder: Path, given: Sequence[str]) -> "Restorer":
        from lit_pure.families.pure.restorer import Restorer
        from lit_pure.families.pure.weights import read_settings
        from lit_pure.families.settings import laid_over

        own = read_settings(folder)
        # Of an experiment that samples; what else it says is not used.
        sampling = PureExperiment(needs=Needs(weights=str(folder)), sampling=own.sampling, restoring=own.restoring)
        settings = laid_over(sampling, given, str(folder))
        assert isinstance(settings, PureExperiment)
        return Restorer.from_pretrained(folder, sampling=settings.sampling, restoring=settings.restoring)

    def given_words(self, run: Run, lq_3hw: "Tensor", hq_3HW: "Tensor") -> "Callable[[Tile], AnswerWords]":
        """Levels of each tile's LQ part by the run's estimator, and the caption of its HQ part."""
        from lit_pure.families.pure.given_words import given_words

        return given_words(run, lq_3hw, hq_3HW)

    def given_codes(self, run: Run, hq_3HW: "Tensor") -> "Callable[[Tile], GivenCodes]":
        """The HQ picture's codes, by the run's tokenizer."""
        from lit_pure.families.pure.given_codes import given_codes
        from lit_pure.models import weights

        tokenizer = weights.load_tokenizer(self.tokenizer_run(run).weights)
        return given_codes(tokenizer, run.experiment().data.size, hq_3HW)

    def read_words(self, row: Mapping[str, Any]) -> tuple[Said, Said]:
        """Labels and caption of the source; and the model's, where its sentence was understood."""
        known = {"degradation": row.get(DEM_DEGRADATION), "caption": row.get(SOURCE_CAPTION)}
        blur, noise = row.get("blur"), row.get("noise")
        written = {
            "degradation": degradation_sentence(blur, noise) if blur and noise else "",
            "caption": row.get("caption"),
        }
        return _said(known), _said(written)

    def check_plan(self, experiment: Experiment) -> PureExperiment:
        """What only samples is not trained."""
        assert isinstance(experiment, PureExperiment)
        if experiment.needs.weights:
            what = "plan is for the training of a backbone, for example pure/paper"
            raise ConfigError(f"{experiment.name} only samples; {what}")
        return experiment

    def memory(self, experiment: RestoringExperiment, gpus: int) -> "Plan":
        from lit_pure.families.pure.plan import measure
        from lit_pure.planning.memory import Memory

        assert isinstance(experiment, PureExperiment)
        return Memory(measure(experiment, gpus))

    def restoring_memory(self, experiment: Experiment) -> "RestoringMemory":
        from lit_pure.families.pure.plan import measure_restoring

        assert isinstance(experiment, PureExperiment)
        return measure_restoring(experiment)

    def check_export(self, run: Run) -> None:
        """Adapters are merged into the weights of their start, which must be there."""
        if run.experiment_as(PureExperiment).adapter.kind != "none":
            runs.require(run.need("start"))

    def export(self, run: Run, state: "dict[str, Tensor]", out: Path) -> list[str]:
        from lit_pure.families.pure.build import export

        return export(run, state, out)


def _check_adapters(kind: str) -> None:
    """Refuse adapters whose packages are not installed."""
    wanted = {"none": (), "lora": ("peft",), "qlora": ("peft", "bitsandbytes")}[kind]
    if lacking := " and ".join(name for name in wanted if find_spec(name) is None):
        raise ConfigError(f"adapter.kind={kind} needs {lacking}; install it: pip install 'lit_pure[adapters]'")


def _said(words: Mapping[str, Any]) -> Said:
    return {name: str(text) for name, text in words.items() if text}
