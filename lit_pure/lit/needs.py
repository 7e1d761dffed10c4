"""The runs that an experiment needs. Knows which of them are made if they are missing, and which never are."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from lit_pure.config.compose import compose, differences
from lit_pure.config.experiment import Experiment
from lit_pure.families.table import family_of
from lit_pure.lit.distributed.processes import count_launched
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import MissingRun, Run

log = logging.getLogger(__name__)

Make = Callable[[Experiment, Sequence[str]], Run]
"""Makes a run of an experiment."""


def provide(experiment: Experiment, command: Sequence[str], make: Make, pinned: Mapping[str, str]) -> dict[str, Run]:
    """The runs that an experiment needs, by their role.

    Args:
        experiment: its `needs` name them.
        command: the command line.
        make: makes a missing run of tokenizer, DEM or earlier stage; weights are never made.
        pinned: labels of the runs that a resumed run has used so far; they are used again.
    """
    wanted = {name: need for name, need in asdict(experiment.needs).items() if need}
    if "weights" in wanted:
        # Sampling uses exactly what the weights were trained with, whatever newer runs there are.
        trained = runs.require(wanted["weights"])
        _check_same_task(experiment, trained)
        frozen = {name: runs.require(need) for name, need in trained.needs().items()}
        log.info("sampling from the weights of %s; nothing is trained", trained.label)
        return {**frozen, "weights": trained}
    return {
        name: family_of(experiment).start(pinned.get(name, need))
        if name == "start"
        else runs.require(pinned[name])
        if name in pinned
        else _existing_or_made(need, command, make)
        for name, need in wanted.items()
    }


def _check_same_task(experiment: Experiment, trained: Run) -> None:
    """Raises ValueError if an experiment that samples changes what its weights were trained for."""
    fixed = ("sequence.guidance_mode", "stage", "data.size", "data.degradation.scale")
    changed = [line for line in differences(trained.experiment(), experiment) if line.startswith(fixed)]
    if changed:
        raise ValueError(f"{trained.label} was trained for something else ({'; '.join(changed)}); choose other weights")


def _existing_or_made(need: str, command: Sequence[str], make: Make) -> Run:
    found = runs.newest_finished(need)
    if found is None:
        if (processes := count_launched()) > 1:
            # Each process would make it, and the run may ask for other devices.
            raise MissingRun(
                f"{need} is missing, and {processes} processes were started: make it first, {runs.make_command(need)}"
            )
        log.info("no finished run of %s exists yet: it is made first", need)
        return make(compose(need), command)
    log.info("using %s", found.label)
    # A version that is named is used with any settings.
    if need != found.label and (changed := differences(found.experiment(), compose(need))):
        log.warning("the settings of %s differ from those of %s now (%s)", found.label, need, "; ".join(changed))
    return found
