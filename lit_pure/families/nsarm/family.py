"""NSARM's answers to what the other rooms ask of a family.

Knows which part of NSARM answers what. Imports no torch by itself: parts that compute are imported when they are asked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.families.family import Family
from lit_pure.families.nsarm.schedule import NO_TOKENIZER, check_fit, check_stage, tokenizer_config
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

if TYPE_CHECKING:
    from torch import Tensor

    from lit_pure.families.nsarm.restorer import NSARMRestorer
    from lit_pure.planning.plan import Plan


class NSARM(Family):
    """Next-scale autoregressive restoration, trained in three stages."""

    config = NSARMExperiment
    module = "lit_pure.lit.nsarm"
    trained = "network"
    changeable = ("sampling", "restoring", "prefix", "caption")
    seed = "sampling.seed"
    folder_kind = "nsarm_restorer"
    beside = ("tokenizer",)
    maps = ("entropy",)

    def check(self, experiment: Experiment) -> None:
        """Refuse what the training of a stage lacks, and networks that do not fit each other."""
        assert isinstance(experiment, NSARMExperiment)
        needs = experiment.needs
        if not needs.tokenizer:
            raise ConfigError(NO_TOKENIZER)
        check_fit(experiment, tokenizer_config(needs.tokenizer))
        if needs.start:
            self.start(needs.start)
        if experiment.stage != "stage2":
            return
        for role, stage, need, trains in (
            ("transformer", "pretrain", needs.transformer, experiment.trains_transformer),
            ("transformation", "stage1", needs.transformation, experiment.trains_transformation),
        ):
            if need and not trains:
                raise ConfigError(f"needs.{role} = {need}: prefix.source = lq has no such network; leave it empty")
            if need:
                check_stage(need, role, (stage, "stage2"))
            elif trains and not needs.start:
                raise ConfigError(f"needs.{role} names no run, and stage2 continues one: take a run of {stage}")

    def start(self, name: str) -> Run:
        """The run whose network is taken."""
        check_stage(name, "start", ("pretrain", "stage1", "stage2"))
        return runs.require(name)

    def restorer(self, run: Run, settings: Experiment) -> "NSARMRestorer":
        """The trained network with the tokenizer that it was trained with."""
        from lit_pure.families.nsarm.build import trained_restorer
        from lit_pure.models import weights

        assert isinstance(settings, NSARMExperiment)
        tokenizer = weights.load_bit_tokenizer(self.weights(run)["tokenizer"].weights)
        return trained_restorer(settings, tokenizer, run)

    def restorer_in(self, folder: Path, given: Sequence[str]) -> "NSARMRestorer":
        from lit_pure.families.nsarm.restorer import NSARMRestorer
        from lit_pure.families.nsarm.weights import load_restorer
        from lit_pure.families.settings import laid_over

        own, tokenizer, network = load_restorer(folder)
        settings = laid_over(own, given, str(folder))
        assert isinstance(settings, NSARMExperiment)
        return NSARMRestorer(tokenizer, network, settings)

    def check_plan(self, experiment: Experiment) -> NSARMExperiment:
        """What only samples is not trained."""
        assert isinstance(experiment, NSARMExperiment)
        if experiment.needs.weights:
            raise ConfigError(f"{experiment.name} only samples; plan is for a training, for example nsarm/8b/stage2")
        return experiment

    def memory(self, experiment: RestoringExperiment, gpus: int) -> "Plan":
        from lit_pure.families.nsarm.plan import measure
        from lit_pure.planning.scale_memory import ScaleMemory

        assert isinstance(experiment, NSARMExperiment)
        return ScaleMemory(measure(experiment, gpus))

    def export(self, run: Run, state: "dict[str, Tensor]", out: Path) -> list[str]:
        from lit_pure.families.nsarm.build import export

        return export(run, state, out)
