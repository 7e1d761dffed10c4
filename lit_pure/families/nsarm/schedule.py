"""Which scales a square has, and which of them come from the LQ picture; what does not fit is refused.

Knows sizes, grids and experiments. Knows no network, and imports no torch, so that a mistake is refused at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lit_pure.config.bit_tokenizer import BitTokenizerConfig, BitTokenizerExperiment
from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.models.scales import Grid, fitting_grids, latent_grids, prefix_length, tokens
from lit_pure.runs import folder as runs

NO_TOKENIZER = "needs.tokenizer names no run, and NSARM needs a bitwise tokenizer: take nsarm/nano/tokenizer"


@dataclass(frozen=True)
class Schedule:
    """The scales of the model's square."""

    grids: tuple[Grid, ...]
    """Of tokens, coarsest first."""
    cells: tuple[Grid, ...]
    """Of latent cells."""
    frame: Grid
    """The grid of tokens on which all positions lie: that of the tokenizer's largest square."""
    known: int
    """How many scales, from the first, come from the LQ picture: the prefix."""
    lq_side: int
    """Side of the LQ picture whose latent the transformation network reads [px]."""

    @property
    def drawn(self) -> int:
        """Tokens of all scales after the prefix."""
        return tokens(self.grids[self.known :])


def schedule_of(experiment: NSARMExperiment, tokenizer: BitTokenizerConfig) -> Schedule:
    """The schedule of an experiment with a tokenizer; raises ConfigError with a remedy where they do not fit."""
    size, token = experiment.data.size, tokenizer.token_pixels
    lq_side = size // experiment.data.degradation.scale
    if size % token or lq_side % token:
        raise ConfigError(
            f"data.size = {size} and LQ pictures of {lq_side} px cannot be cut into tokens of {token} px; "
            f"take a data.size that is a multiple of {token * experiment.data.degradation.scale}"
        )
    last = size // token
    grids = fitting_grids(tokenizer.sides, (last, last))
    cells = latent_grids(grids, tokenizer.patch)
    side = lq_side // tokenizer.downsample
    known = experiment.prefix.scales or prefix_length(cells, (side, side))
    if known >= len(grids):
        raise ConfigError(
            f"prefix.scales: {known} of {len(grids)} scales come from the LQ picture, so nothing is left to predict; "
            f"set prefix.scales to {len(grids) - 1} or less"
        )
    if not known:
        raise ConfigError(f"data.size = {size}: no scale fits into {side}x{side} cells of the LQ picture; enlarge it")
    largest = tokenizer.sides[-1]
    frame = (max(largest, last), max(largest, last))
    return Schedule(tuple(grids), tuple(cells), frame, known, lq_side)


def check_fit(experiment: NSARMExperiment, tokenizer: BitTokenizerConfig) -> Schedule:
    """The schedule. Raises ConfigError where networks do not fit the tokenizer or the scales."""
    schedule, branches = schedule_of(experiment, tokenizer), len(experiment.transformation.widths)
    if experiment.transformer.bits != tokenizer.token_bits:
        raise ConfigError(
            f"transformer.bits = {experiment.transformer.bits}, and a token of the tokenizer has "
            f"{tokenizer.token_bits}: set transformer.bits={tokenizer.token_bits}, or name another needs.tokenizer"
        )
    if len(schedule.grids) > experiment.transformer.levels:
        raise ConfigError(
            f"transformer.levels = {experiment.transformer.levels} for {len(schedule.grids)} scales; raise it"
        )
    if experiment.trains_transformation and branches != schedule.known:
        raise ConfigError(
            f"transformation.widths = {experiment.transformation.widths}: {branches} branches for "
            f"{schedule.known} prefix scales; give one width, number of layers and of heads for each"
        )
    return schedule


def tokenizer_config(name: str) -> BitTokenizerConfig:
    """The sizes of the tokenizer that `needs.tokenizer` names, finished or not. Raises ConfigError for another kind."""
    run = runs.newest_finished(name)
    found = run.experiment() if run else compose(runs.experiment_of(name))
    if not isinstance(found, BitTokenizerExperiment):
        raise ConfigError(f"needs.tokenizer = {name} is of family {found.family}; name a bit_tokenizer")
    return found.bsq


def check_stage(name: str, role: str, stages: Sequence[str]) -> None:
    """Raise ConfigError unless `needs.ROLE` names an experiment of NSARM that trains such a network."""
    run = runs.newest_finished(name)
    found = run.experiment() if run else compose(runs.experiment_of(name))
    if not isinstance(found, NSARMExperiment) or found.stage not in stages:
        which = f"stage {found.stage}" if isinstance(found, NSARMExperiment) else f"family {found.family}"
        raise ConfigError(f"needs.{role} = {name} is of {which}; name an nsarm run of {' or '.join(stages)}")
