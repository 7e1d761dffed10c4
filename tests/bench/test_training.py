"""The bench compares like with like: both ways of training have the same losses, to the last bit, in all they share."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.bench import plain_loop, presets
from lit_pure.bench.timing import kept_bytes, turns_in_order
from lit_pure.bench.train_subjects import CAPTION, CodesModule, on_random_codes
from lit_pure.bench.training import Comparison, compare, summarize
from lit_pure.config.pure import PureExperiment
from lit_pure.lit.callbacks.protocols import Work
from lit_pure.models.next_token import NextTokenBackbone

CPU = torch.device("cpu")
TINY = ["backbone.width=32", "backbone.layers=2", "backbone.heads=2", "backbone.ffn=48", "data.size=64"]


def on_codes(overrides: list[str], steps: int) -> PureExperiment:
    """The preset 1b, small enough for a CPU; the paper's dropout is left in."""
    experiment = presets.preset_experiment("1b", [*TINY, "data.batch_size=2", *overrides], steps)
    assert experiment.backbone.dropout == 0.05
    experiment.trainer = replace(experiment.trainer, accelerator="cpu")
    return experiment


def test_trainer_and_plain_loop_have_the_same_losses_on_photographs(house: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    # A high learning rate and a low bound for gradients: the rates of the schedule, and clipping, have their effect.
    knobs = ["optim.lr=0.01", "optim.min_lr=0.001", "trainer.gradient_clip=0.1", "sequence.condition_dropout=0.5"]
    assert main(["bench", "train", "--rounds", "2", "--steps", "2", "--json", str(file), "--set", *knobs]) == 0
    written = json.loads(file.read_text())
    assert written["difference"] == 0 and written["last_loss"] < written["first_loss"]
    assert written["steps"] == 4 and [row["way"] for row in written["rows"]] == ["trainer", "by hand"]
    assert 0 < written["lowest"] <= written["ratio_of_rounds"] <= written["highest"]
    for row in written["rows"]:
        assert row["tokens_per_second"] * row["ms_per_step"] == pytest.approx(1000 * written["tokens"], rel=0.01)
        assert row["images_per_second"] * row["ms_per_step"] == pytest.approx(2000)
        assert row["mfu"] is None and row["peak_mib"] is None
    assert (written["preset"], written["precision"], written["compile"]) == ("nano", "32-true", False)
    assert written["set"] == knobs and written["torch"] == torch.__version__
    assert not list((house / "runs").glob("bench*"))  # the runs of a house are its own


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_trainer_and_plain_loop_have_the_same_losses_on_random_codes_with_dropout_and_rounding(precision: str) -> None:
    settings = [f"trainer.precision={precision}", "trainer.activation_checkpointing=block", "trainer.peak_flops=1e12"]
    found = compare("1b", on_codes(settings, 6), CPU, rounds=1, steps=3)
    assert found.difference == 0 and found.steps == 3
    ways = {row.way: row for row in found.rows}
    assert ways["trainer"].mfu is not None and ways["by hand"].mfu is not None
    speeds = ways["trainer"].tokens_per_second / ways["by hand"].tokens_per_second
    assert ways["trainer"].mfu / ways["by hand"].mfu == pytest.approx(speeds)


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda loop, loss: loss * 1.0001, 0),
        (lambda loop, loss: loss if loop.steps < 3 else loss * torch.nan, 2),
    ],
    ids=["a little more", "not a number"],
)
def test_bench_train_refuses_losses_that_differ(
    change: Callable[[plain_loop.PlainLoop, Tensor], Tensor], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = plain_loop.PlainLoop._loss
    monkeypatch.setattr(plain_loop.PlainLoop, "_loss", lambda loop, batch: change(loop, right(loop, batch)))
    with pytest.raises(ValueError, match=f"step {step}: the Trainer's loss is .* there is no comparison"):
        compare("1b", on_codes([], 4), CPU, rounds=1, steps=2)


def test_trainer_and_plain_loop_take_turns_to_begin_a_round() -> None:
    turns = [(turn.way, turn.number) for turn in turns_in_order(2)]
    pair = ("trainer", "by hand")
    assert turns == [(pair[0], 0), (pair[1], 0), (pair[1], 1), (pair[0], 1), (pair[0], 2), (pair[1], 2)]


def made_up(seconds: dict[tuple[str, int], list[float]], peak: float | None = None) -> Comparison:
    turns = turns_in_order(3)
    for turn in turns:
        turn.seconds = seconds[turn.way, turn.number]
        turn.losses, turn.processor = [2.0, 1.0], 2 * sum(turn.seconds)
        turn.peak = peak if turn.way == "trainer" else None
    works = [Work(100, 100, 1e15)] * 2 + [Work(4, 1000, 3e12), Work(4, 3000, 5e12)] * 3
    return summarize(turns, works, 7, 1e13, 0.0)


def test_figures_of_bench_train_are_medians_without_the_first_round() -> None:
    trainer = [[50.0, 50.0], [3.0, 1.0], [1.0, 9.0], [2.0, 2.0]]
    hand = [[0.1, 0.1], [1.0, 1.0], [1.0, 1.0], [4.0, 1.0]]
    seconds: dict[tuple[str, int], list[float]] = {("trainer", n): each for n, each in enumerate(trainer)}
    found = made_up({**seconds, **{("by hand", n): each for n, each in enumerate(hand)}}, peak=3 * 2.0**20)
    assert (found.ratio, found.ratio_of_rounds, found.ratio_of_processor_time) == (2, 2, 2)
    assert (found.lowest, found.highest) == (4 / 5, 5)
    assert (found.steps, found.tokens, found.parameters) == (6, 2000, 7)
    ours, theirs = found.rows
    assert (ours.ms_per_step, ours.tokens_per_second, ours.images_per_second) == (2000, 1000, 2)
    assert (ours.mfu, theirs.mfu) == (pytest.approx(0.2), pytest.approx(0.4))
    assert (ours.peak_mib, theirs.peak_mib) == (3, None)


def test_bench_train_reports_no_device_memory_on_a_cpu() -> None:
    layer = torch.nn.Linear(4, 4)
    assert kept_bytes(layer.parameters(), torch.optim.AdamW(layer.parameters())) == 0


@pytest.mark.parametrize(("preset", "least", "most"), [("1b", 1.0e9, 1.3e9), ("7b-layer", 1.4e9, 1.42e9)])
def test_the_large_presets_are_as_large_as_they_say(preset: str, least: float, most: float) -> None:
    """Of 7b-layer by hand: 4 x (4 x 4096^2 + 3 x 4096 x 11008) + 2 x 73728 x 4096 = 1.4136e9, and the norms."""
    with torch.device("meta"):
        backbone = NextTokenBackbone(presets.preset_experiment(preset, [], 1).backbone, presets.ROWS)
    assert least < sum(item.numel() for item in backbone.parameters()) < most


def test_a_sequence_of_random_codes_is_as_long_as_the_paper_s() -> None:
    """8.4k ids: 2 x (64 x 65 + 4) of the pictures, two ends, and the words."""
    experiment = on_codes(["data.size=512"], 1)
    subject = on_random_codes(experiment, CPU)()
    assert isinstance(subject.module, CodesModule)
    batch = next(iter(subject.data.train_dataloader()))
    assembler, samples = subject.module.restorer.assembler, subject.module.samples(batch)
    ids_BT, _ = assembler.batch(samples, [False, False])
    words = len(assembler.vocabulary.encode(CAPTION))
    assert 8_400 < ids_BT.shape[1] < 8_500 and 60 < words < 120
    assert len(samples[0].hq_codes_hw.unique()) > 3000  # of 4,096 drawn among 16,384


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rounds", "0"], "--rounds 0"),
        (["--steps", "0"], "--steps 0"),
        (["--batch", "-1"], "--batch -1"),
        (["--threads", "-1"], "--threads -1"),
        (["--peak-flops", "-1"], "--peak-flops -1"),
        (["--json", "nowhere/train.json"], "nowhere/train.json cannot be written"),
        (["--set", "trainer.max_steps=7"], "take --steps and --rounds"),
        (["--set", "trainer.accumulate=2"], "trainer.accumulate = 2 is not what bench train compares; take 1"),
        (["--set", "optim.ema=0.9"], "optim.ema = 0.9"),
        (["--set", "trainer.strategy=ddp"], "trainer.strategy = ddp"),
        (["--set", "trainer.precision=bf16-true"], "trainer.precision = bf16-true"),
        (["--set", "backbone.widht=8"], "did you mean backbone.width"),
    ],
)
def test_mistakes_in_bench_train_s_flags_are_refused(
    house: Path, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "train", *flags]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_bench_train_presets_that_need_cuda_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", "--preset", "7b-layer"]) == 2
    told = capsys.readouterr().err
    assert "--preset 7b-layer needs a CUDA device" in told and told.count("\n") == 1
