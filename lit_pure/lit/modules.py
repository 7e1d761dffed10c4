"""From an experiment, and the runs that it builds on, to its LightningModule; also from a checkpoint of a run.

Knows the table of families, and where a run keeps its settings. Knows nothing of what a module computes.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from lit_pure.config.experiment import Experiment
from lit_pure.families.table import family_of
from lit_pure.lit.data import Transform
from lit_pure.lit.distributed.loading import restore
from lit_pure.lit.run_module import RunModule
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


def build_module(experiment: Experiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The LightningModule of an experiment, and what is done to its batches. Raises ValueError for what is missing."""
    module, transform = import_module(family_of(experiment).module).build(experiment, needs)
    assert isinstance(module, RunModule)
    return module, transform


def load_module(checkpoint: Path) -> RunModule:
    """The LightningModule of a run, with the weights of one of its checkpoints, on the CPU and without a Trainer.

    Args:
        checkpoint: runs/EXPERIMENT/version_N/checkpoints/step=... of any family. Its weights are those after the step;
            averaged ones (`optim.ema`) are read by `lit-pure export`.

    Raises:
        ValueError: it is no complete checkpoint, or does not go with the settings of its run.
        MissingRun: a run that it was built on is missing.
    """
    run = Run(Path(checkpoint).resolve().parents[1])
    if not (run.folder / "config.yaml").is_file():
        raise ValueError(f"{checkpoint} is not in the folder of a run; name runs/NAME/version_N/checkpoints/step=...")
    needs = {role: runs.require(label) for role, label in run.provenance()["needs"].items()}
    module, _ = build_module(run.experiment(), needs)
    restore(Path(checkpoint), module, [], [], strict=True, group=None)
    return module
