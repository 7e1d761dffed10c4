"""Where weights come from that lie outside of run folders: a small file that `export` and `convert` write with them.

Knows that file: the settings of their run, and the runs that they need. Knows nothing of tensors, and imports no torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lit_pure.config.compose import from_plain, plain
from lit_pure.config.experiment import Experiment
from lit_pure.config.library import load_keys
from lit_pure.files.atomic import write_whole
from lit_pure.files.reading import of_kind, refusing
from lit_pure.runs.folder import Run

FILE = "lit_pure.yaml"
"""In a folder of weights; of weights in one file NAME it is NAME.lit_pure.yaml beside it."""
REMEDY = "export or convert the weights again"


@dataclass(frozen=True)
class LooseWeights(Run):
    """Weights in a folder of their own, used as if they were a run's; `folder` is theirs."""

    settings: Experiment
    needed_by_role: dict[str, str]
    holder: Path
    """The folder that has them as model.safetensors."""

    @property
    def label(self) -> str:
        """The folder, or file."""
        return str(self.folder)

    @property
    def finished(self) -> bool:
        """They are."""
        return True

    @property
    def weights(self) -> Path:
        """The folder of the weights."""
        return self.holder

    def recorded_needs(self) -> dict[str, str]:
        """The runs that they were built on, by role."""
        return self.needed_by_role

    def experiment(self) -> Experiment:
        """The settings of the run that they come from."""
        return self.settings


def place(weights: Path) -> Path:
    """The file that says where weights, a folder or a file, come from."""
    return weights / FILE if weights.is_dir() else weights.with_name(f"{weights.name}.{FILE}")


def write(weights: Path, run: Run) -> None:
    """Write where weights come from; a run that is not finished may have recorded nothing yet: its settings say it."""
    experiment = run.experiment()
    recorded = (run.folder / "provenance.json").is_file()
    needs = run.needs() if recorded else experiment.needs.made_first()
    record = {"run": run.label, "needs": needs, "experiment": plain(experiment)}
    write_whole(place(weights), yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


def read(weights: Path) -> LooseWeights | None:
    """The weights, a folder or a file, with what is known of them; None where nothing is.

    Raises ValueError where the file is damaged.
    """
    path = place(weights)
    if not path.is_file():
        return None
    with refusing(path, REMEDY):
        found: dict[str, Any] = load_keys(path, undot=False)
        needs = {str(role): of_kind(name, str) for role, name in of_kind(found["needs"], dict).items()}
        settings = from_plain(of_kind(found["experiment"], dict), str(path))
    return LooseWeights(weights, settings, needs, weights)
