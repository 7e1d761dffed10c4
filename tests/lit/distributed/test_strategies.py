"""Checkpoints that any strategy and any number of processes write and read: one, two with copies, two with pieces."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lit_pure.config.training import TrainerConfig
from lit_pure.lit.distributed.loading import restore
from lit_pure.lit.distributed.saving import (
    Contents,
    copy_plain,
    copy_to_cpu,
    model_state,
    optimizer_settings,
    optimizer_state,
    part,
    write,
)
from lit_pure.lit.distributed.strategies import OneDevice, Replicated, Sharded, strategy_of
from lit_pure.runs import checkpoints
from tests.forks import together
from tests.lit.distributed.saving_process import fit

STEPS, LATER = 10, 4
Found = dict[str, Any]
CLOSE = 1e-12
"""Float64 numbers of other orders of summation."""
MOUNT = 'mount -t tmpfs -o size=130k none "$1" && shift && exec "$@"'
SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"]
"""What runs the command that follows a folder's name, for which that folder has 130 kB: two checkpoints fit."""


def processes(plan: Path, fits: list[dict[str, Any]], before: Sequence[str] = ()) -> tuple[list[list[Found]], str]:
    """What each process found in some trainings, one after the other, and what they said."""
    plan.write_text(json.dumps(fits))
    script = Path(__file__).with_name("saving_process.py")
    if before:
        done = subprocess.run([*before, sys.executable, str(script), str(plan)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        said = done.stderr
    else:
        said = together(script, plan, count=max(each["devices"] for each in fits))
    found = [json.loads(file.read_text()) for file in sorted(plan.parent.glob(f"{plan.stem}_*.json"))]
    return found, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def one(folder: Path) -> Found:
    """A training without a break, on one device, that saves after each second step."""
    return fit("auto", 1, str(folder / "one"), STEPS)


@pytest.fixture(scope="module")
def two(folder: Path, one: Found) -> tuple[dict[str, list[Found]], str]:
    """Trainings of two processes by name, what each process found, and what was said."""
    resumed = {"steps": STEPS, "every": 100, "devices": 2}

    def saved(name: str) -> str:
        return str(checkpoints.path(folder / name, LATER))

    fits = {
        "fsdp": {"strategy": "fsdp", "devices": 2, "steps": STEPS},
        "ddp": {"strategy": "ddp", "devices": 2, "steps": STEPS},
        "fsdp from fsdp": {"strategy": "fsdp", "resume": saved("fsdp"), **resumed},
        "ddp from ddp": {"strategy": "ddp", "resume": saved("ddp"), **resumed},
        "ddp from fsdp": {"strategy": "ddp", "resume": saved("fsdp"), **resumed},
        "fsdp from ddp": {"strategy": "fsdp", "resume": saved("ddp"), **resumed},
        "fsdp from one": {"strategy": "fsdp", "resume": saved("one"), **resumed},
        "ddp from one": {"strategy": "ddp", "resume": saved("one"), **resumed},
        "full": {"strategy": "fsdp", "devices": 2, "steps": STEPS, "broken": 5},
    }
    found, said = processes(
        folder / "plan.json", [{"folder": str(folder / name), **each} for name, each in fits.items()]
    )
    return {name: [each[place] for each in found] for place, name in enumerate(fits)}, said


def goes_on(found: Found, straight: Found, done: int, close: float = CLOSE) -> None:
    """What a training that went on after `done` steps found is what the straight one found from there on."""
    assert found["losses"] == pytest.approx(straight["losses"][2 * done :], rel=close, abs=0)
    assert found["rates"] == straight["rates"][2 * done :], "the schedule went on"
    assert found["val"] == pytest.approx(straight["val"][done // 3 :], rel=close, abs=0)
    assert [found[key] for key in ("seen", "stepped", "batches")] == [2 * STEPS, STEPS, 2 * STEPS]
    for kind in ("model", "mean"):
        for name in straight[kind].keys() - {"idle.weight", "idle.bias"}:  # of ddp alone they have gradients
            assert found[kind][name] == pytest.approx(straight[kind][name], rel=close, abs=1e-14), name


@pytest.mark.parametrize("done", [2, LATER, 6, 8])
def test_one_process_resumes_bit_for_bit(folder: Path, one: Found, done: int) -> None:
    saved = checkpoints.path(folder / "one", done)
    found = fit("auto", 1, str(folder / f"again{done}"), STEPS, str(saved), every=100)
    goes_on(found, one, done, close=0)  # a validation falls on step 6, and the checkpoint comes after it
    assert found["model"] == one["model"] and found["mean"] == one["mean"]


def test_two_processes_share_a_strategy_agree_and_have_the_same_losses(two: tuple[dict[str, list[Found]], str]) -> None:
    for strategy, kind in (("fsdp", "Sharded"), ("ddp", "Replicated")):
        first, second = two[0][strategy]
        assert first["strategy"] == second["strategy"] == kind
        assert first["agreed"] == second["agreed"] == [2, 1, 3]
        assert first["losses"] == second["losses"]


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_two_processes_resume_bit_for_bit(two: tuple[dict[str, list[Found]], str], strategy: str) -> None:
    straight, again = two[0][strategy][0], two[0][f"{strategy} from {strategy}"][0]
    goes_on(again, straight, LATER, close=0)


@pytest.mark.parametrize(
    "name", ["fsdp from ddp", "ddp from fsdp", "fsdp from one", "ddp from one", "fsdp from fsdp", "ddp from ddp"]
)
def test_two_processes_resume_from_any_checkpoint(
    two: tuple[dict[str, list[Found]], str], one: Found, name: str
) -> None:
    goes_on(two[0][name][0], one, LATER)


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
@pytest.mark.parametrize("done", [LATER, 6])
def test_one_process_resumes_from_the_checkpoint_of_two(
    folder: Path, one: Found, two: tuple[dict[str, list[Found]], str], strategy: str, done: int
) -> None:
    saved = checkpoints.path(folder / strategy, done)
    goes_on(fit("auto", 1, str(folder / f"{strategy}{done}"), STEPS, str(saved), every=100), one, done)


@pytest.fixture(scope="module")
def alone(folder: Path, two: object) -> tuple[list[Found], str]:
    """Trainings of one process that makes a process group of itself, and what they said; the last on a small disk."""
    saved = str(checkpoints.path(folder / "fsdp", LATER))
    fits: list[dict[str, Any]] = [
        {"strategy": "fsdp", "steps": 6, "folder": "alone"},
        {"strategy": "fsdp", "steps": STEPS, "folder": "alone again", "resume": saved},
        {"strategy": "auto", "steps": 8, "folder": "disk"},
    ]
    disk = folder / "disk"
    disk.mkdir()
    before = SMALL_DISK if subprocess.run([*SMALL_DISK, str(disk), "true"], capture_output=True).returncode == 0 else []
    fits = [{**each, "devices": 1, "folder": str(folder / each["folder"])} for each in fits]
    (found,), said = processes(folder / "alone.json", fits, [*before, str(disk)] if before else [])
    return found, said


def test_fsdp_on_one_process_trains_as_no_sharding_does(one: Found, alone: tuple[list[Found], str]) -> None:
    (straight, again, _), said = alone
    assert straight["strategy"] == "Sharded"
    assert straight["losses"] == pytest.approx(one["losses"][:12], rel=CLOSE, abs=0)
    goes_on(again, one, LATER)
    assert "torch.distributed is disabled" not in said


def test_training_continues_on_a_full_disk(folder: Path, one: Found, alone: tuple[list[Found], str]) -> None:
    (*_, found), said = alone
    if not any(found["folders"]) or (folder / "disk" / "step=00000002").exists():
        pytest.skip("no file system can be mounted here")
    assert found["losses"] == one["losses"][:16]
    lines = [line for line in said.splitlines() if "could not be written" in line]
    assert found["kept"] and len(lines) == 4 - len(found["kept"]) > 0
    assert "No space left on device" in lines[-1]
    assert f"step={found['kept'][-1][0]:08d} is kept" in lines[-1]
    assert found["folders"] == [f"step={step:08d}" for step, _ in found["kept"]]


def test_where_one_process_cannot_write_both_continue_and_the_last_good_checkpoint_stays(
    folder: Path, one: Found, two: tuple[dict[str, list[Found]], str]
) -> None:
    first, second = two[0]["full"]
    assert first["kept"] == second["kept"] == [[2, None], [4, None]]
    assert first["folders"] == ["step=00000002", "step=00000004"], "what could not be completed is gone"
    assert first["losses"] == pytest.approx(one["losses"], rel=CLOSE, abs=0)
    lines = [line for line in two[1].splitlines() if "could not be written" in line]
    assert len(lines) == 3, "one for each of the steps 6, 8 and 10, from the first process"
    file = folder / "full" / "step=00000006" / "__1_0.distcp"
    for words in (f"(process 1: No space left on device: {file})", "step=00000004 is kept", "make room"):
        assert words in lines[0]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, OneDevice),
        ({"devices": "2"}, Replicated),
        ({"num_nodes": 2}, Replicated),
        ({"strategy": "ddp"}, Replicated),
        ({"strategy": "fsdp"}, Sharded),
    ],
)
def test_the_strategy_follows_from_devices_and_machines(changes: dict[str, Any], kind: type) -> None:
    strategy = strategy_of(TrainerConfig(accelerator="cpu", timeout=7, **changes))
    assert type(strategy) is kind
    assert strategy.patience.total_seconds() == 7


def test_under_torchrun_one_device_each_is_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_pure.lit.distributed.strategies.count_launched", lambda: 2)
    assert type(strategy_of(TrainerConfig(accelerator="cpu", devices="1"))) is Replicated


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accelerator": "tpu"}, "trainer.accelerator = tpu is not available; take one of auto, .*cpu"),
        ({"accelerator": "cpu", "devices": "many"}, "trainer.devices = many"),
        ({"accelerator": "cpu", "devices": "0"}, "trainer.devices = 0"),
    ],
)
def test_strategies_that_are_not_available_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        strategy_of(TrainerConfig(**changes))


def test_8_bit_moments_are_saved_in_8_bits_and_resume_bit_for_bit(tmp_path: Path) -> None:
    optim = pytest.importorskip("torchao.optim")

    def trained(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        x_BD = torch.randn(4, 64, generator=torch.Generator().manual_seed(seed))
        module(x_BD).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    def begun() -> tuple[nn.Module, torch.optim.Optimizer]:
        module = nn.Linear(64, 256)
        return module, optim.AdamW8bit(module.parameters(), lr=1e-2)

    with torch.compiler.set_stance("force_eager"):
        module, optimizer = begun()
        trained(module, optimizer, 0)
        state = part("model", model_state(module)) | part("optimizer.0", optimizer_state(optimizer, module))
        optimizer.param_groups[0]["lr"].fill_(0.5)
        training = copy_plain({"optimizers": [optimizer_settings(optimizer)]}, "")
        copies = {name: copy_to_cpu(tensor) for name, tensor in state.items()}
        trained(module, optimizer, 1)
        folder = checkpoints.path(tmp_path, 1)
        assert write(folder, Contents(copies, training, {"step": 1}), lambda: None, None) == ""
        again, other = begun()
        restore(folder, again, [other], [], True, None)
        trained(again, other, 1)
    assert other.param_groups[0]["lr"] == 0.5
    assert torch.equal(again.weight, module.weight) and torch.equal(again.bias, module.bias)
    moments, weights = 2 * 64 * 256, 4 * 64 * 256
    assert moments + weights < (folder / "__0_0.distcp").stat().st_size < 2.5 * moments + weights
