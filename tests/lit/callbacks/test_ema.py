"""Averages against their closed form, and weights that come back as they were."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from lit_pure.lit.callbacks.ema import EMA
from tests.forks import together
from tests.lit.callbacks import ema_run as averaging_run
from tests.lit.callbacks.ema_run import DECAY, STEPS, Line, Notes, data, trainer, weights

Weights = dict[str, Tensor]


def mean(after: list[Weights], decay: float = DECAY) -> Weights:
    """The closed form, in float64: each weighs `decay` times what comes next."""
    shares = [decay ** (len(after) - 1 - i) for i in range(len(after))]
    return {
        name: sum(share * item[name].double() for share, item in zip(shares, after, strict=True)) / sum(shares)  # type: ignore[misc]
        for name in after[0]
    }


def near(found: Weights, wanted: Weights) -> bool:
    assert found.keys() == wanted.keys()
    return all(torch.allclose(found[name].double(), wanted[name], rtol=1e-5, atol=1e-6) for name in wanted)


def same(found: Weights, wanted: Weights) -> bool:
    assert found.keys() == wanted.keys()
    return all(torch.equal(found[name], wanted[name]) for name in wanted)


class Left:
    """A guard that leaves out the second step."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    @property
    def skipped(self) -> bool:
        return len(self.notes.after) == 1


def test_the_average_has_its_closed_form_and_is_what_is_validated_and_tested() -> None:
    module, averaging, notes = Line(), EMA(DECAY), Notes()
    fitting = trainer([averaging, notes], val_check_interval=2)
    fitting.fit(module, data(STEPS), data(1))
    assert len(notes.after) == STEPS and len(module.validated) == 3
    for steps, validated in zip((2, 4, 6), module.validated, strict=True):
        assert near(validated, mean(notes.after[:steps]))
        assert not near(validated, {name: item.double() for name, item in notes.after[steps - 1].items()})
    assert same(weights(module), notes.after[-1]), "training ends with the last weights"
    assert "maps.2.weight" not in averaging.shards(), "what is frozen has no average"
    fitting.test(module, data(1), verbose=False)
    assert near(module.tested, mean(notes.after))
    with averaging.swapped():
        assert same(weights(module), module.tested)
    assert same(weights(module), notes.after[-1])


def test_training_is_the_same_bit_for_bit_with_an_average_and_without() -> None:
    plain, watched = Notes(), Notes()
    trainer([plain], val_check_interval=1).fit(Line(), data(STEPS), data(1))
    trainer([EMA(DECAY), watched], val_check_interval=1).fit(Line(), data(STEPS), data(1))
    assert len(plain.after) == STEPS
    assert all(same(with_it, without) for with_it, without in zip(watched.after, plain.after, strict=True))


def test_the_first_step_outweighs_what_was_there_before_it() -> None:
    averaging, notes = EMA(0.999), Notes()
    trainer([averaging, notes], max_steps=1).fit(Line(), data(1))
    assert same(averaging.shards(), notes.after[0])


def test_only_optimizer_steps_are_averaged() -> None:
    averaging, notes = EMA(DECAY), Notes()
    trainer([averaging, notes], max_steps=3, accumulate_grad_batches=4).fit(Line(), data(12))
    assert len(notes.after) == 12 and averaging.state_dict()["averaged"] == 3
    assert near(averaging.shards(), mean(notes.after[3::4]))


def test_a_skipped_step_is_not_averaged() -> None:
    notes = Notes()
    averaging = EMA(DECAY, Left(notes))
    trainer([averaging, notes]).fit(Line(), data(STEPS))
    assert near(averaging.shards(), mean([notes.after[0], *notes.after[2:]]))
    assert not near(averaging.shards(), mean(notes.after))


def test_a_failed_validation_puts_the_weights_back() -> None:
    module, averaging, notes = Line(), EMA(DECAY), Notes()
    module.fails = True
    with pytest.raises(ValueError, match="no validation"):
        trainer([averaging, notes], val_check_interval=3).fit(module, data(STEPS), data(1))
    assert len(notes.after) == 3
    assert same(weights(module), notes.after[-1]) and near(averaging.shards(), mean(notes.after))


def test_a_validation_before_any_training_sees_the_weights_and_no_average() -> None:
    module, averaging = Line(), EMA(DECAY)
    before = weights(module)
    trainer([averaging]).validate(module, data(1), verbose=False)
    assert same(module.validated[0], before)


def test_a_resumed_average_ends_as_one_that_never_stopped() -> None:
    """Bit for bit, with what a checkpoint holds: module, optimizer (Lightning's own file), average and count."""
    whole, notes = EMA(DECAY), Notes()
    trainer([whole, notes]).fit(Line(), data(STEPS))
    module, first = Line(), EMA(DECAY)
    half = trainer([first], max_steps=3)
    half.fit(module, data(STEPS))
    kept = copy.deepcopy((first.shards(), first.state_dict(), module.state_dict(), half.optimizers[0].state_dict()))
    module, second = Line(), EMA(DECAY)

    class Resumes(Notes):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:  # where our strategies load
            pl_module.load_state_dict(kept[2])
            trainer.optimizers[0].load_state_dict(kept[3])
            second.load_state_dict(kept[1])
            for name, item in second.shards().items():
                item.copy_(kept[0][name])

    rest = torch.utils.data.DataLoader(data(STEPS).dataset[12:], batch_size=4)
    trainer([second, resumed := Resumes()], max_steps=3).fit(module, rest)
    assert same(resumed.after[-1], notes.after[-1])
    assert same(second.shards(), whole.shards()) and second.state_dict()["averaged"] == whole.state_dict()["averaged"]


def test_averages_of_bfloat16_are_refused() -> None:
    """0.999 of a bfloat16 number and 0.001 of its neighbour is the number itself."""
    with pytest.raises(ValueError, match="bf16-mixed"):
        trainer([EMA(DECAY)], precision="bf16-true").fit(Line(), data(STEPS))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    folder = tmp_path_factory.mktemp("averaging")
    found: dict[int, Any] = {}
    averaging_run.run(folder, 1)
    together(Path(averaging_run.__file__), folder, 2)
    for count in (1, 2):
        found[count] = json.loads((folder / f"{count}.json").read_text()) | {"folder": folder / str(count)}
    return found


def tensors(found: dict[str, Any]) -> Weights:
    return {name: torch.tensor(item) for name, item in found.items()}


@pytest.mark.parametrize("count", [1, 2])
def test_two_sharded_processes_average_their_own_pieces(runs: dict[int, Any], count: int) -> None:
    """FSDP2: pieces stay pieces, the whole is the closed form, and so is what is validated."""
    found = runs[count]
    after = [tensors(step) for step in found["after"]]
    assert len(after) == STEPS
    assert near(tensors(found["averages"]), mean(after)) and near(tensors(found["validated"]), mean(after))
    assert same(tensors(found["end"]), after[-1])
    for mine, alone in zip(after, runs[1]["after"], strict=True):
        assert near(mine, {name: item.double() for name, item in tensors(alone).items()}), "the same training"


def test_averages_of_two_processes_are_loaded_by_one(runs: dict[int, Any]) -> None:
    averages = {name: torch.full_like(item, torch.nan) for name, item in weights(Line()).items()}
    dcp.load({"ema": averages}, checkpoint_id=runs[2]["folder"])
    assert same(averages, tensors(runs[2]["averages"]))
