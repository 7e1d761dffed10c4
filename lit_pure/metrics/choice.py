"""Which metrics to measure, from what was asked for and what is there; imports no torch: mistakes are told at once.

Knows defaults, protocols, references and absent weights. Knows nothing of pictures or of how a score is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import RestoringExperiment
from lit_pure.metrics import files, protocols
from lit_pure.metrics.table import METRICS, info_of

DEFAULT = ("psnr", "ssim", "niqe")
"""What is measured where nothing is asked for: those that need no download."""


@dataclass(frozen=True)
class Choice:
    """Metrics to measure, and how."""

    metrics: tuple[str, ...]
    """Keys of `table.METRICS`, in the order to show them."""
    labels: dict[str, str]
    """How each is called in tables: by its protocol, else by its row in the table."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Metrics that are not measured, each with the reason."""
    border: int = 0
    """Cut off every side of both pictures before anything is measured [px]."""
    protocol: str = ""
    """Its name; "" where there is none."""


def choose(
    asked: Sequence[str] = (),
    protocol: str = "",
    *,
    with_target: bool,
    missing: Literal["refuse", "skip"] = "refuse",
) -> Choice:
    """What to measure.

    Args:
        asked: keys of `table.METRICS`; without, those of the protocol, else `DEFAULT`.
        protocol: a published way to measure, whose border, too, is taken; "" is none.
        with_target: whether the true pictures are there. Of what nobody asked for by name, metrics that need them are
            left out where they are not.
        missing: what becomes of a metric whose weights are not there.

    Raises:
        ConfigError: an unknown metric or protocol, a metric asked for that needs the true pictures, nothing to measure.
        MissingWeights: with `missing` "refuse"; names the files and the command that fetches them.
    """
    rules = protocols.protocol(protocol) if protocol else None
    named = {key: label for label, key in rules.metrics.items()} if rules else {}
    keys = list(dict.fromkeys(asked or named or DEFAULT))
    try:
        comparing = [key for key in keys if info_of(key).needs_reference]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    left_out: dict[str, str] = {}
    if comparing and not with_target:
        if asked:
            alone = [key for key, info in METRICS.items() if not info.needs_reference]
            remedy = f"give their folder with --target, or choose from {', '.join(alone)}"
            raise ConfigError(f"{', '.join(comparing)}: the true pictures are needed; {remedy}")
        left_out = dict.fromkeys(comparing, "the true pictures are needed; give their folder with --target")
        keys = [key for key in keys if key not in comparing]
    usable, absent = files.require(keys, missing)
    if absent:
        left_out |= dict.fromkeys(absent, f"weights are not here; get them: {files.remedy(absent)}")
    if not usable:
        raise ConfigError("nothing to measure: " + "; ".join(f"{key}: {reason}" for key, reason in left_out.items()))
    labels = {key: named.get(key, METRICS[key].label) for key in [*usable, *left_out]}
    return Choice(tuple(usable), labels, left_out, rules.border if rules else 0, protocol)


def choose_for_run(experiment: RestoringExperiment) -> Choice:
    """What a run measures: the metrics of its protocol, then those that it names.

    Raises:
        ConfigError: as `choose`, where the pictures are smaller than a metric takes, and where no test set can be
            measured by any metric.
        MissingWeights: as `choose`.
        ValueError: the weights of a metric are damaged.
    """
    asked, name = experiment.evaluation, experiment.evaluation.protocol
    keys = [*(protocols.protocol(name).metrics.values() if name else ()), *asked.metrics]
    if not keys:
        return Choice((), {})
    choice = choose(keys, name, with_target=True, missing=asked.missing)
    side = experiment.data.size - 2 * choice.border
    for key in choice.metrics:
        if side < (least := METRICS[key].smallest_side):
            raise ConfigError(
                f"data.size = {experiment.data.size}, and {key} scores pictures of {least} px or more; choose others, "
                "for example evaluation.metrics=[psnr,ssim]"
            )
    if len(metrics_without_truth(experiment, choice)) == len(choice.metrics):
        sets = ", ".join(sorted(experiment.data.test))
        raise ConfigError(
            f"evaluation.metrics: {', '.join(choice.metrics)} need the true pictures, which no test set ({sets}) has; "
            "add one that needs none, for example niqe, or a set with a source"
        )
    for key in choice.metrics:
        files.verify(key)  # of a file without a published digest, as MANIQA's, no more can be known so cheaply
    return choice


def metrics_without_truth(experiment: RestoringExperiment, choice: Choice) -> list[str]:
    """The metrics that no test set can be measured by: those that need true pictures, where all sets lack them."""
    sets = experiment.data.test.values()
    if not sets or any(photos.source or photos.meta_info for photos in sets):
        return []
    return [key for key in choice.metrics if METRICS[key].needs_reference]
