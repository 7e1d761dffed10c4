"""What the other rooms ask of a family of experiments, with the answers of a family that has nothing special.

Knows run folders and settings. Knows no family. Imports no torch by itself: what computes is imported when it is asked
for, so that a mistake is refused at once.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.images.labels import RESTORED
from lit_pure.runs.folder import Run

if TYPE_CHECKING:
    from torch import Tensor

    from lit_pure.images.tiles import Tile
    from lit_pure.planning.plan import Plan
    from lit_pure.planning.restoring import RestoringMemory
    from lit_pure.restoring.contract import SquareRestorer

Said = Mapping[str, str]
"""Words about a picture by name, for example `caption`."""


class Family:
    """One family. Its attributes and methods are all that differs between families; `table.py` is the table of them."""

    config: type[Experiment]
    """The root dataclass of its experiments."""
    module = "lit_pure.lit.restoring"
    """The module whose `build` makes the LightningModule. A name, because LightningModules stand above families."""
    method = RESTORED
    """What its runs call their own pictures in `scores.csv` and in tables."""
    trained = ""
    """What the LightningModule calls the network that it trains; empty: its checkpoints cannot be exported."""
    changeable: tuple[str, ...] = ("restoring",)
    """Sections of the settings that may differ from the run's when it restores; all else is in the weights."""
    faster: tuple[str, ...] = ()
    """Other knobs that may differ then: they change how fast it restores, and results by no more than rounding."""
    seed = ""
    """The knob that all draws of a restoration come from; empty where nothing is drawn."""
    folder_kind = ""
    """The kind, in its config.json, of a folder with all that its restorer needs; empty: there are no such folders."""
    beside: tuple[str, ...] = ()
    """Roles of `needs` whose weights restore together with a run's own."""
    maps: tuple[str, ...] = ()
    """Names of the maps that its restorations have."""
    given_by: tuple[str, ...] = ()
    """Roles of `needs` that words come from which are given instead of written; empty: none can be given."""

    @property
    def restores(self) -> bool:
        """Whether its runs restore pictures."""
        return issubclass(self.config, RestoringExperiment)

    def check(self, experiment: Experiment) -> None:
        """Raise ConfigError for what a training lacks, before anything is imported or trained."""

    def restorer(self, run: Run, settings: Experiment) -> "SquareRestorer":
        """The restorer of a finished run with weights of its own, with these settings.

        Raises ValueError where the weights are damaged, or for a family that restores nothing.
        """
        raise self.restores_nothing(run)

    def restorer_in(self, folder: Path, given: Sequence[str]) -> "SquareRestorer":
        """The restorer of a folder of `folder_kind`, with settings KEY=VALUE laid over its own.

        Raises ValueError naming what is wrong with the folder, ConfigError for a setting.
        """
        raise NotImplementedError

    def start(self, name: str) -> Run:
        """The run whose weights training starts from. Raises MissingRun, and ConfigError where none can be taken."""
        raise ConfigError(f"needs.start = {name}: a {self.config.family} is trained from fresh weights; leave it empty")

    def restores_nothing(self, run: Run) -> ConfigError:
        """The refusal of a run that restores nothing."""
        return ConfigError(f"{self._called(run)}, which restores nothing; name a pure one")

    def _called(self, run: Run) -> str:
        return f"{run.label} is a run of family {self.config.family}"

    def weights(self, run: Run) -> dict[str, Run]:
        """The runs whose weights restore: `weights` the run's own, and those `beside` it, by role."""
        owner = weights_run(run)
        return {"weights": owner, **{role: owner.needed(role) for role in self.beside}}

    def tokenizer_run(self, run: Run) -> Run:
        """The run itself where it is a tokenizer, or the one of its tokenizer. Raises ConfigError where it has none."""
        if "tokenizer" not in self.beside:
            raise ConfigError(f"{self._called(run)}, which has no tokenizer; name a tokenizer or a pure one")
        return self.weights(run)["tokenizer"]

    def words_given_by(self, run: Run) -> dict[str, Run]:
        """The runs that give words, by role. Raises ConfigError where no words can be given."""
        if not self.given_by:
            raise ConfigError(f"{self._called(run)}, which writes no words: none can be given")
        owner = weights_run(run)
        return {role: owner.needed(role) for role in self.given_by}

    def given_words(self, run: Run, lq_3hw: "Tensor", hq_3HW: "Tensor") -> "Callable[[Tile], Any]":
        """What a perfect perception would say of each tile of a restored photograph, for `restore_photo(given=...)`.

        Args:
            run: finished.
            lq_3hw: uint8.
            hq_3HW: uint8, a whole number of times as large.
        """
        raise NotImplementedError

    def given_codes(self, run: Run, hq_3HW: "Tensor") -> "Callable[[Tile], Any]":
        """What a perfect backbone would draw for each tile, for `restore_photo(given=...)`; `hq_3HW` is uint8.

        Raises ConfigError for families that draw no codes.
        """
        raise ConfigError(f"{self._called(run)}, which draws no codes: none can be given")

    def read_words(self, row: Mapping[str, Any]) -> tuple[Said, Said]:
        """From a line of `answers.jsonl`: what was known of the picture, and what the model wrote; nothing empty."""
        return {}, {key: str(text) for key, text in row.items() if key != "image" and text}

    def check_plan(self, experiment: Experiment) -> RestoringExperiment:
        """The experiment. Raises ConfigError where the memory of its training cannot be planned."""
        what = f"{experiment.name} is of family {self.config.family}"
        raise ConfigError(f"{what}; plan is for the training of a backbone, for example pure/paper")

    def memory(self, experiment: RestoringExperiment, gpus: int) -> "Plan":
        """The memory of a training's process; `needs` are looked up as a run would. Raises ConfigError."""
        raise NotImplementedError

    def restoring_memory(self, experiment: Experiment) -> "RestoringMemory":
        """The memory of a process that restores. Raises ConfigError for families where it cannot be planned."""
        what = f"{experiment.name} is of family {self.config.family}"
        raise ConfigError(f"{what}; plan --restore is for a backbone that draws codes, for example pure/official")

    def check_export(self, run: Run) -> None:
        """Raise ValueError where the checkpoints of a run cannot be exported."""
        if not self.trained:
            raise ConfigError(
                f"{self._called(run)}: only checkpoints of pure runs are exported; "
                "others keep their weights when they are finished"
            )

    def export(self, run: Run, state: "dict[str, Tensor]", out: Path) -> list[str]:
        """Write the `trained` network with a checkpoint's tensors as weights of a run.

        Returns names of tensors that are missing, or do not fit; nothing is written then.
        """
        raise NotImplementedError


def weights_run(run: Run) -> Run:
    """The run whose weights a run has: its own, or those that it only samples from."""
    return run.needed("weights") if run.recorded_needs().get("weights") else run
