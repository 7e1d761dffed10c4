"""Chooses the metrics to measure, from the request and the weights on this machine.

Knows defaults, protocols, references and missing weights. Knows nothing of pictures or of how a score is computed.
Imports no torch, so that mistakes are reported at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import RestoringExperiment
from lit_pure.metrics import files, protocols
from lit_pure.metrics.table import METRICS, info_of

DEFAULT = ("psnr", "ssim", "niqe")
"""The default metrics: those that need no download."""


@dataclass(frozen=True)
class Choice:
    """Metrics to measure, and how."""

    metrics: tuple[str, ...]
    """Keys of `table.METRICS`, in the order to show them."""
    labels: dict[str, str]
    """Name of each in tables: that of its protocol, else that of its row in `METRICS`."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Metrics that are not measured, each with the reason."""
    border: int = 0
    """Cut off each side of both pictures before measuring [px]."""
    protocol: str = ""
    """Its name; "" without a protocol."""


def choose(
    asked: Sequence[str] = (),
    protocol: str = "",
    *,
    with_target: bool,
    missing: Literal["refuse", "skip"] = "refuse",
) -> Choice:
    """Choose the metrics to measure.

    Args:
        asked: keys of `table.METRICS`; by default those of the protocol, else `DEFAULT`.
        protocol: a published way to measure, which also sets the border; "" is none.
        with_target: whether true pictures are given. Without them, default metrics that need them are left out.
        missing: what to do about a metric whose weights are missing.

    Raises:
        ConfigError: an unknown metric or protocol, a requested metric that needs true pictures, or nothing to measure.
        MissingWeights: weights are missing and `missing` is "refuse"; names the files and the command that fetches
            them.
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
            raise ConfigError(f"{', '.join(comparing)}: true pictures are needed; {remedy}")
        left_out = dict.fromkeys(comparing, "true pictures are needed; give their folder with --target")
        keys = [key for key in keys if key not in comparing]
    usable, absent = files.require(keys, missing)
    if absent:
        left_out |= dict.fromkeys(absent, f"weights are missing; get them: {files.remedy(absent)}")
    if not usable:
        raise ConfigError("nothing to measure: " + "; ".join(f"{key}: {reason}" for key, reason in left_out.items()))
    labels = {key: named.get(key, METRICS[key].label) for key in [*usable, *left_out]}
    return Choice(tuple(usable), labels, left_out, rules.border if rules else 0, protocol)


def choose_for_run(experiment: RestoringExperiment) -> Choice:
    """The metrics of a run: those of its protocol, then those that it names.

    Raises:
        ConfigError: as `choose`; also where the pictures are too small for a metric, or no metric can measure any test
            set.
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
                f"data.size = {experiment.data.size}, but {key} needs pictures of {least} px or more; choose other "
                "metrics, for example evaluation.metrics=[psnr,ssim]"
            )
    if len(metrics_without_truth(experiment, choice)) == len(choice.metrics):
        sets = ", ".join(sorted(experiment.data.test))
        raise ConfigError(
            f"evaluation.metrics: {', '.join(choice.metrics)} need true pictures, which no test set ({sets}) has; "
            "add a metric that needs none, for example niqe, or a set with a source"
        )
    for key in choice.metrics:
        files.verify(key)  # a file without a published digest, such as MANIQA's, is only checked for existence
    return choice


def metrics_without_truth(experiment: RestoringExperiment, choice: Choice) -> list[str]:
    """The metrics that cannot measure any test set: they need true pictures, and no set has them."""
    sets = experiment.data.test.values()
    if not sets or any(photos.source or photos.meta_info for photos in sets):
        return []
    return [key for key in choice.metrics if METRICS[key].needs_reference]
