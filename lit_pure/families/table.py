"""Which parts serve which family."""

from dataclasses import replace

from lit_pure.config.experiment import RestoringConfig
from lit_pure.config.pure import PureExperiment, SamplingConfig
from lit_pure.families.pure.build import _restorer
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.weights import load_pure
from lit_pure.models import weights
from lit_pure.models.precision import prepare
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


def restorer_of(run: Run, sampling: SamplingConfig | None = None, restoring: RestoringConfig | None = None) -> Restorer:
    """The restorer of a finished PURE run, with the tokenizer it was trained with.

    `sampling` and `restoring` are the run's own where none are given. Raises ValueError for runs that restore nothing.
    """
    experiment = run.experiment()
    if not isinstance(experiment, PureExperiment):
        raise ValueError(f"{run.label} is a run of family {experiment.family}, which restores nothing; name a pure one")
    sampling, restoring = sampling or experiment.sampling, restoring or experiment.restoring
    if experiment.needs.weights:
        return restorer_of(runs.require(run.provenance()["needs"]["weights"]), sampling, restoring)
    backbone, vocabulary = load_pure(run.weights)
    prepare(backbone, sampling)
    tokenizer = weights.load_tokenizer(runs.require(run.provenance()["needs"]["tokenizer"]).weights)
    return _restorer(replace(experiment, sampling=sampling, restoring=restoring), tokenizer, backbone, vocabulary)
