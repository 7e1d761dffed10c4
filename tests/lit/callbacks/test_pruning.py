"""A training that a search gives up: it saves, is labelled, ends with status 0, and can be trained on."""

import json
from pathlib import Path

import pytest
from lightning import Trainer

from lit_pure.lit.callbacks.checkpointing import Checkpointing
from lit_pure.lit.callbacks.pruning import Pruning
from lit_pure.runs import checkpoints
from lit_pure.runs.stop import Stopped
from tests.lit.distributed.saving_process import fit


class Judged:
    """Gives up from a step on."""

    def __init__(self, at: int, metric: str = "val/loss") -> None:
        self.at, self.metric = at, metric
        self.seen: dict[int, float] = {}
        self.pruned: list[int] = []

    def worse(self, step: int, value: float) -> bool:
        self.seen[step] = value
        return step >= self.at

    def prune(self, step: int) -> None:
        self.pruned.append(step)


class Saves:
    def save_now(self, trainer: Trainer) -> None:
        next(one for one in trainer.callbacks if isinstance(one, Checkpointing)).save_now(trainer)  # type: ignore[attr-defined]


def test_it_ends_at_the_first_validation_that_is_given_up_and_can_go_on(tmp_path: Path) -> None:
    whole = fit("auto", 1, str(tmp_path / "whole"), 12)
    judge, mark = Judged(at=5), tmp_path / "pruned.json"
    with pytest.raises(Stopped) as stopped:
        fit("auto", 1, str(tmp_path / "trial"), 12, every=100, extra=[Pruning(judge, Saves(), mark)])
    assert stopped.value.status == 0 and "pruned after step 6: val/loss" in stopped.value.message
    assert judge.seen == pytest.approx({3: whole["val"][0], 6: whole["val"][1]}) and judge.pruned == [6]
    assert json.loads(mark.read_text()) == {"step": 6, "metric": "val/loss", "value": judge.seen[6]}
    saved = checkpoints.newest(tmp_path / "trial")
    assert saved and saved.step == 6 and saved.score == pytest.approx(judge.seen[6])
    on = fit("auto", 1, str(tmp_path / "trial"), 12, resume=str(saved.folder))
    assert on["losses"] == whole["losses"][-len(on["losses"]) :] and len(on["losses"]) == 12, "bit for bit"


def test_the_last_validation_is_reported_and_the_training_finished(tmp_path: Path) -> None:
    judge = Judged(at=6)
    assert (
        len(fit("auto", 1, str(tmp_path / "trial"), 6, extra=[Pruning(judge, Saves(), tmp_path / "mark")])["val"]) == 2
    )
    assert list(judge.seen) == [3, 6] and not judge.pruned and not (tmp_path / "mark").exists()


def test_a_metric_that_is_not_validated_is_named_beside_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no validation has val/psnr, by which trials are pruned; there are val/loss"):
        fit("auto", 1, str(tmp_path / "trial"), 6, extra=[Pruning(Judged(0, "val/psnr"), Saves(), tmp_path / "mark")])
