"""From an experiment, and the runs that it builds on, to its LightningModule; also from a checkpoint.

Knows the table of families, and where a run keeps its settings. Knows nothing of what a module computes.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning import LightningModule

from lit_pure.config.compose import from_plain, plain
from lit_pure.config.experiment import Experiment
from lit_pure.families.table import family_of
from lit_pure.lit.any_checkpoint import read_file
from lit_pure.lit.data import Transform
from lit_pure.lit.distributed.loading import restore
from lit_pure.lit.run_module import RunModule
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

EXPERIMENT, NEEDS = "experiment", "needs"
"""The hyperparameters of a module: its settings, and role -> name of a run that it was built on."""


def build_module(experiment: Experiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The LightningModule of an experiment, and what is done to its batches. Raises ValueError for what is missing.

    Its hyperparameters are the experiment and the names of the runs: checkpoints hold them, and `load_module` needs
    nothing else.
    """
    module, transform = import_module(family_of(experiment).module).build(experiment, needs)
    assert isinstance(module, RunModule)
    built_on = {role: run.label for role, run in needs.items()}
    # Before the first step: what a module changes in its settings is not part of them. Loggers of ours write their own.
    module.save_hyperparameters({EXPERIMENT: plain(experiment), NEEDS: built_on}, logger=False)
    return module, transform


def load_module(checkpoint: Path, strict: bool = True) -> RunModule:
    """The LightningModule of a checkpoint, with its weights, on the CPU and without a Trainer.

    Args:
        checkpoint: a file that a Trainer of Lightning wrote; or runs/EXPERIMENT/version_N/checkpoints/step=... of any
            family. Its weights are those after the step; averaged ones (`optim.ema`) are read by `lit-pure export`.
        strict: whether it must have exactly the tensors of the module.

    Raises:
        ValueError: it is no complete checkpoint, or does not go with its settings.
        MissingRun: a run that it was built on is missing.
    """
    if checkpoint.is_file():
        found = read_file(checkpoint)
        module = _of_hyperparameters(found.get(LightningModule.CHECKPOINT_HYPER_PARAMS_KEY), checkpoint)
        _fill(module, found["state_dict"], checkpoint, strict)
        return module
    run = Run(checkpoint.resolve().parents[1])
    if not (run.folder / "config.yaml").is_file():
        raise ValueError(
            f"{checkpoint} is not in the folder of a run; name runs/NAME/version_N/checkpoints/step=..., "
            "or a file that a Trainer of Lightning wrote"
        )
    needs = {role: runs.require(label) for role, label in run.provenance()["needs"].items()}
    module, _ = build_module(run.experiment(), needs)
    restore(checkpoint, module, [], [], strict, group=None)
    return module


def _of_hyperparameters(found: Any, checkpoint: Path) -> RunModule:
    """The module that a checkpoint's hyperparameters describe."""
    if not isinstance(found, Mapping) or not {EXPERIMENT, NEEDS} <= found.keys():
        raise ValueError(
            f"{checkpoint} does not hold the settings of an experiment: it is a checkpoint of something else, or of a "
            "module that lit_pure.build did not make"
        )
    needs = {role: runs.require(label) for role, label in found[NEEDS].items()}
    module, _ = build_module(from_plain(found[EXPERIMENT], str(checkpoint)), needs)
    return module


def _fill(module: RunModule, state: Mapping[str, Any], checkpoint: Path, strict: bool) -> None:
    try:
        module.load_state_dict(state, strict=strict)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{checkpoint} does not go with its settings ({reason}); name another checkpoint") from error
