"""A search whose trials train nothing: their val/loss is a formula of three knobs with one minimum.

`python -m tests.search.toy DIE_AT` sweeps it in a process of its own, which kills itself (SIGKILL) in the middle of its
DIE_AT-th run; 0: never.
"""

import csv
import math
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lit_pure.__main__ import main
from lit_pure.config.compose import compose, save
from lit_pure.config.dem import DemExperiment
from lit_pure.config.experiment import Experiment
from lit_pure.files.atomic import write_json
from lit_pure.launch.local import Processes
from lit_pure.runs import folder as runs
from lit_pure.search.reporting import reporting_of

STEPS = (2, 4, 6, 8)
LR, MARGIN, LABELS = 1e-3, 0.3, "terciles"
"""Where the minimum is: 0."""
SEARCH = """
family: dem
data: {train: {source: photos}}
trainer: {max_steps: 8, val_every: 2}
search:
  trials: 30
  seed: 3
  prune: PRUNE
  space: {optim.lr: {log: [1e-5, 1e-1]}, dem.margin: {float: [0, 1]}, dem.labels: {choice: [thirds, terciles]}}
"""


def place(folder: Path, prune: bool = False) -> None:
    """A working directory with the search."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "toy.yaml").write_text(SEARCH.replace("PRUNE", str(prune).lower()))


def objective(experiment: Experiment) -> float:
    assert isinstance(experiment, DemExperiment)
    away = math.log10(experiment.optim.lr / LR), 4 * (experiment.dem.margin - MARGIN)
    return sum(one**2 for one in away) + 0.5 * (experiment.dem.labels != LABELS)


class Toy:
    """In place of `Processes.run`."""

    def __init__(self, die_at: int = 0) -> None:
        self.names: list[str] = []
        self.die_at = die_at
        self.fates: dict[int, int] = {}
        """Exit statuses by the number of the run, from 1 on."""

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        name, overrides = command[command.index("run") + 1], command[command.index("run") + 2 :]
        self.names.append(name)
        if status := self.fates.get(len(self.names)):
            return status
        experiment = compose(name, overrides)
        value = objective(experiment)
        folder = runs.ROOT / name / f"version_{len(runs.versions(name))}"
        folder.mkdir(parents=True)
        save(experiment, folder / "config.yaml")
        write_json(folder / "provenance.json", {"needs": {}})
        reporting = reporting_of(name, environment or {})
        with (folder / "metrics.csv").open("w", newline="") as file:
            curves = csv.writer(file)
            curves.writerow(["step", "val/loss"])
            for step in STEPS:
                curves.writerow([step, value + 1 / step - 1 / STEPS[-1]])
                if len(self.names) == self.die_at and step == STEPS[1]:
                    os.kill(os.getpid(), signal.SIGKILL)
                if reporting and step < STEPS[-1] and reporting.worse(step, value + 1 / step):
                    reporting.prune(step)
                    write_json(folder / runs.PRUNED, {"step": step})
                    return 0
        write_json(folder / "summary.json", {"name": name, "family": "dem", "steps": STEPS[-1]})
        return 0


def patched(die_at: int = 0) -> Toy:
    toy = Toy(die_at)
    Processes.run = lambda self, *given: toy.run(*given)  # type: ignore[method-assign]
    return toy


if __name__ == "__main__":
    patched(int(sys.argv[1]))
    sys.exit(main(["sweep", "toy"]))
