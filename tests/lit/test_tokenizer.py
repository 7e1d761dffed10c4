"""The tokenizer module: its losses by their definition, restarts after the step."""

import pytest
import torch
from lightning import Trainer
from torch.optim import SGD

from lit_pure.config.tokenizer import TokenizerExperiment, VQConfig
from lit_pure.lit.data import Batch
from lit_pure.lit.tokenizer import TokenizerModule


def module(**changes: float) -> TokenizerModule:
    torch.manual_seed(0)
    vq = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=16, **changes)
    made = TokenizerModule(TokenizerExperiment(vq=vq))
    made.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    return made


def batch() -> Batch:
    return {"hq_B3HW": torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)), "name": ["a", "b"]}


def test_the_loss_has_the_weights_of_the_config() -> None:
    made = module(l1_weight=0.5, l2_weight=2.0, commit_weight=0.25)
    found, loss, parts = made._losses(batch(), training=True)
    rebuilt, _, codebook, commit = made.tokenizer(batch()["hq_B3HW"])
    error = 2 * rebuilt - 2 * batch()["hq_B3HW"]  # in [-1, 1], the range that the weights are published for
    expected = 0.5 * error.abs().mean() + 2 * error.pow(2).mean() + codebook + 0.25 * commit
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert parts["l2"].item() == pytest.approx(error.pow(2).mean().item(), rel=1e-5)
    assert found.codes_Bhw.shape == (2, 4, 4)


def test_uses_are_counted_and_unused_codes_restart_on_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(restart_every=2)
    made.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    made.training_step(batch(), 0)
    assert int(made.uses_N.sum()) == 32
    unused = made.uses_N == 0
    before = made.tokenizer.codebook_ND.detach().clone()
    optimizer = SGD(made.parameters(), lr=0.0)
    made.optimizer_step(0, 0, optimizer, lambda: None)
    assert torch.equal(made.tokenizer.codebook_ND, before), "not yet"
    monkeypatch.setattr(TokenizerModule, "global_step", 1)
    made.optimizer_step(0, 1, optimizer, lambda: None)
    moved = (made.tokenizer.codebook_ND != before).any(1)
    assert torch.equal(moved, unused) and bool(unused.any())
    assert int(made.uses_N.sum()) == 0


def test_the_optimizer_has_every_parameter() -> None:
    made = module()
    optimizer = made.configure_optimizers()["optimizer"]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(made.parameters()))
