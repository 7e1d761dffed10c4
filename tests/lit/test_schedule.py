"""The schedule against its closed form, AdamW's settings, and its moments in 8 bits beside those in float32."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from lit_pure.config.training import OptimConfig
from lit_pure.lit.schedule import configure, learning_rate


def test_warm_up_is_linear_and_decay_is_half_a_cosine() -> None:
    config = OptimConfig(lr=4e-4, min_lr=1e-5, warmup=0.25)
    assert learning_rate(0, 400, config) == pytest.approx(4e-4 / 101)
    assert learning_rate(49, 400, config) == pytest.approx(4e-4 * 50 / 101)
    assert learning_rate(100, 400, config) == pytest.approx(4e-4)
    assert learning_rate(250, 400, config) == pytest.approx((4e-4 + 1e-5) / 2)
    assert learning_rate(325, 400, config) == pytest.approx(1e-5 + 3.9e-4 * (1 + math.cos(0.75 * math.pi)) / 2)
    assert learning_rate(400, 400, config) == pytest.approx(1e-5) == learning_rate(999, 400, config)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, 100, OptimConfig(lr=1e-3, warmup=0.0)) == pytest.approx(1e-3)


def test_the_optimizer_follows_the_schedule() -> None:
    config = OptimConfig(lr=1e-2, warmup=0.5, weight_decay=0.1)
    parameter = torch.nn.Parameter(torch.ones(3))
    made = configure([parameter], config, max_steps=10)
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]  # type: ignore[index]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["betas"] == (0.9, 0.95) and optimizer.defaults["weight_decay"] == 0.1
    for step in range(10):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(learning_rate(step, 10, config))
        optimizer.step()
        scheduler.step()


def test_what_is_frozen_is_not_optimized() -> None:
    frozen, trained = torch.nn.Parameter(torch.ones(2), requires_grad=False), torch.nn.Parameter(torch.ones(3))
    optimizer = configure([frozen, trained], OptimConfig(), max_steps=10)["optimizer"]
    assert [group["params"] for group in optimizer.param_groups] == [[trained]]


class Training:
    """A small network that learns to shift a vector; its matrices have 8192 numbers, its biases few."""

    def __init__(self, states: Any, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.network = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 64))
        self.config = OptimConfig(lr=1e-2, warmup=0.1, states=states)
        made = configure(self.network.parameters(), self.config, max_steps=60)
        self.optimizer, self.scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]  # type: ignore[index]
        self.x_BD = torch.randn(64, 64)
        self.losses: list[float] = []
        self.rates: list[float] = []

    def steps(self, count: int) -> list[float]:
        for _ in range(count):
            loss = (self.network(self.x_BD) - self.x_BD.roll(1, 1)).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.rates.append(float(self.optimizer.param_groups[0]["lr"]))
            self.optimizer.step()
            self.scheduler.step()
            self.losses.append(loss.item())
        return self.losses

    def moments(self) -> list[torch.Tensor]:
        states = (self.optimizer.state[parameter] for parameter in self.network.parameters())
        return [state[name] for state in states for name in ("exp_avg", "exp_avg_sq")]


def stored(moment: torch.Tensor) -> int:
    """Bytes of all tensors that a moment is made of."""
    parts = [getattr(moment, name) for name in moment.__tensor_flatten__()[0]] if is_8bit(moment) else [moment]
    return sum(part.untyped_storage().nbytes() for part in parts)


def is_8bit(moment: torch.Tensor) -> bool:
    return hasattr(moment, "__tensor_flatten__")


@pytest.fixture(scope="module")
def rounded() -> Training:
    """Trained with moments of 8 bits; the compiler takes a while."""
    pytest.importorskip("torchao")
    training = Training("8bit")
    training.steps(60)
    return training


@pytest.mark.slow
def test_moments_of_8_bits_train_as_those_of_float32(rounded: Training) -> None:
    """Within 2 % of the loss at each of 60 steps, over which it falls to a hundredth (seed 0)."""
    exact = Training("float32")
    assert exact.steps(60)[-1] < exact.losses[0] / 50
    assert rounded.losses == pytest.approx(exact.losses, rel=0.02)
    assert rounded.losses[5:] != exact.losses[5:]
    assert rounded.rates == pytest.approx([learning_rate(step, 60, exact.config) for step in range(60)])


@pytest.mark.slow
def test_moments_of_8_bits_take_a_quarter_of_the_memory(rounded: Training) -> None:
    """A byte a number, a float32 scale for 256 of them, a table of 256 values; small parameters as ever."""
    matrix, bias = 128 * 64, 128
    found = [stored(moment) for moment in rounded.moments()]
    assert found == [matrix + matrix // 256 * 4 + 1024] * 2 + [4 * bias] * 2 + [9344] * 2 + [4 * 64] * 2
    assert found[0] < 0.29 * 4 * matrix


@pytest.mark.slow
def test_moments_of_8_bits_are_saved_and_loaded(rounded: Training, tmp_path: Path) -> None:
    """Through DCP; bit for bit the same weights afterwards, the rate of the schedule included."""
    model, optimizer = get_state_dict(rounded.network, rounded.optimizer)
    dcp.save({"model": model, "optimizer": optimizer}, checkpoint_id=tmp_path / "kept")
    fresh = Training("8bit", seed=1)
    model, optimizer = get_state_dict(fresh.network, fresh.optimizer)
    dcp.load({"model": model, "optimizer": optimizer}, checkpoint_id=tmp_path / "kept")
    set_state_dict(fresh.network, fresh.optimizer, model_state_dict=model, optim_state_dict=optimizer)
    fresh.scheduler.load_state_dict(rounded.scheduler.state_dict())
    assert [is_8bit(moment) for moment in fresh.moments()] == [True, True, False, False] * 2
    fresh.x_BD = rounded.x_BD
    assert fresh.steps(3) == rounded.steps(3)[-3:]
    for mine, theirs in zip(fresh.network.parameters(), rounded.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.slow
def test_a_step_without_gradients_changes_nothing(rounded: Training) -> None:
    """The guard takes the gradients away; moments, weights and decay have to stand still."""
    before = [item.detach().clone() for item in rounded.network.parameters()]
    moments = [moment.dequantize().clone() if is_8bit(moment) else moment.clone() for moment in rounded.moments()]
    rounded.optimizer.zero_grad()
    rounded.optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, rounded.network.parameters(), strict=True))
    for kept, moment in zip(moments, rounded.moments(), strict=True):
        assert torch.equal(kept, moment.dequantize() if is_8bit(moment) else moment)


def test_8_bits_without_torchao_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(ValueError, match=r"lit_pure\[quantize\]"):
        configure([torch.nn.Parameter(torch.ones(3))], OptimConfig(states="8bit"), 10)


@pytest.mark.slow
def test_8_bits_without_a_compiler_are_refused(tmp_path: Path) -> None:
    """In a process of its own, which finds no compiler and nothing compiled before."""
    pytest.importorskip("torchao")
    code = (
        "import torch; from lit_pure.config.training import OptimConfig; from lit_pure.lit.schedule import configure\n"
        "configure([torch.nn.Parameter(torch.ones(3))], OptimConfig(states='8bit'), 10)"
    )
    without = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | without, capture_output=True, text=True)
    assert done.returncode == 1
    assert "install a C++ compiler" in done.stderr.splitlines()[-1] and "cpu" in done.stderr.splitlines()[-1]
