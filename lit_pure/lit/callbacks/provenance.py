"""Where a run comes from, written to its folder and shown in TensorBoard.

Knows Lightning's hooks, and how to describe this process. Other facts come from its user.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lit_pure.files.atomic import write_json
from lit_pure.lit.callbacks.board import markdown, tensorboard_writer
from lit_pure.runs import folder as runs

FILE = "provenance.json"


class Provenance(Callback):
    """Writes `provenance.json` at the start of fit or test, on the first process, and shows it as text in TensorBoard.

    Once per run: a test after a fit belongs to that run. `fast_dev_run` writes no file, unless a folder was given.
    """

    def __init__(self, facts: Mapping[str, Any] | None = None, folder: Path | None = None) -> None:
        """
        Args:
            facts: what to write, as JSON holds it; None takes `describe_process()`.
            folder: to write to, made if it is missing; None takes the trainer's log folder.
        """
        self.facts, self.folder = describe_process() if facts is None else dict(facts), folder
        self._written = self._shown = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write before anything is trained."""
        self._write_and_show(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write if nothing was trained."""
        self._write_and_show(trainer)

    def write(self, folder: Path) -> None:
        """Write the file, unless it is written already; for a caller that does not wait for the trainer."""
        if not self._written:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / FILE, self.facts)
        self._written = True

    def _write_and_show(self, trainer: Trainer) -> None:
        folder = self.folder or Path(trainer.log_dir or trainer.default_root_dir)  # all processes must read `log_dir`
        if self._shown or not trainer.is_global_zero:
            return
        self._shown = True
        if self.folder or not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.write(folder)
        writer = tensorboard_writer(trainer)
        if writer is not None:
            rows = [{"what": name, "value": value} for name, value in _flat(self.facts)]
            writer.add_text("provenance", markdown(rows), trainer.global_step)


def describe_process() -> dict[str, Any]:
    """Start, command, seed (if Lightning set it), git state of the working directory, versions."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": int(seed) if seed else None,
        **runs.surroundings(Path.cwd()),
    }


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as lines, for example git.commit."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{above}{name}", " ".join(map(str, value))
        else:
            yield f"{above}{name}", str(value)
