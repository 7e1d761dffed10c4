"""NSARM's module: what each stage draws, logs, trains and shows."""

from typing import Any

import pytest
import torch

from lit_pure.config.data import PhotosConfig
from lit_pure.lit.nsarm import NSARMModule
from tests.families.nsarm.small import batch, experiment, restorer

STAGES = ("pretrain", "stage1", "stage2")


def module(stage: str, *settings: str) -> NSARMModule:
    config = experiment(f"stage={stage}", *settings)
    made = NSARMModule(config, restorer(f"stage={stage}", *settings))
    logged: dict[str, float] = {}
    made.logged = logged  # type: ignore[assignment]
    made.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[assignment, method-assign]
    made.log_dict = lambda values, **_: logged.update({k: float(v) for k, v in values.items()})  # type: ignore[assignment, method-assign]
    return made


def seen(made: NSARMModule) -> dict[str, float]:
    return made.logged  # type: ignore[return-value]


@pytest.mark.parametrize("stage", STAGES)
def test_a_few_steps_learn(stage: str) -> None:
    made = module(stage, "optim.lr=0.01", "trainer.max_steps=12", "optim.warmup=0", "flips.strength=0.1")
    optimizer: Any = made.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = made.training_step(batch(), 0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.9 * losses[0]
    assert all(item.grad is not None for item in made.parameters()), "several processes wait for all of them"


@pytest.mark.parametrize(
    ("stage", "parts"),
    [
        ("pretrain", {"transformer"}),
        ("stage1", {"transformation"}),
        ("stage2", {"transformer", "transformation"}),
    ],
)
def test_a_stage_has_the_networks_that_it_trains_and_nothing_frozen(stage: str, parts: set[str]) -> None:
    made = module(stage)
    assert {name.split(".")[1] for name, _ in made.named_parameters()} == parts
    assert {name.split(".")[0] for name, _ in made.named_modules() if name} == {"network"}


def test_vectors_and_embeddings_have_no_weight_decay() -> None:
    made = module("stage2", "optim.weight_decay=0.1")
    optimizer: Any = made.configure_optimizers()["optimizer"]
    decayed, free = (group["params"] for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert len(decayed) + len(free) == len(list(made.parameters()))
    assert all(item.ndim > 1 for item in decayed) and any(item is made.network.transformer.start_D for item in free)  # type: ignore[union-attr]
    assert any(item is made.network.transformer.level.weight for item in free)  # type: ignore[union-attr]


@pytest.mark.parametrize("stage", STAGES)
@torch.no_grad()
def test_a_validation_draws_nothing_and_shows_the_prefix_beside_the_restored_picture(stage: str) -> None:
    made = module(stage, "caption.dropout=1", "flips.strength=0.5").eval()
    made.validation_step(batch(), 0)
    first = dict(seen(made))
    made.validation_step({**batch(), "epoch": torch.ones(2, dtype=torch.long)}, 0)
    assert seen(made) == first
    assert {"val/loss", "val/prefix_bits", "val/prefix_bits_2", "val/prefix_psnr"} < first.keys()
    assert ("val/bits_4" in first) == (stage == "pretrain")
    assert ("val/later_bits_4" in first) == ("val/later_ce" in first) == (stage != "stage1")
    assert list(made.shown) == ["LQ", "bicubic", "prefix alone", "restored", "ground truth"]
    assert {tuple(shown.shape) for shown in made.shown.values()} == {(2, 3, 32, 32)}


def test_flips_and_dropped_captions_are_functions_of_the_samples() -> None:
    made = module("pretrain", "caption.dropout=0.5")
    losses = [made.training_step(given, 0).item() for given in (batch(), batch())]
    assert losses[0] == losses[1]
    assert made.training_step({**batch(), "epoch": torch.ones(2, dtype=torch.long)}, 0).item() != losses[0]


def test_flips_stop_at_the_scale_that_is_set_and_are_none_without_a_transformer() -> None:
    assert len(module("pretrain")._flips(batch())) == 4
    assert len(module("pretrain", "flips.scales=2")._flips(batch())) == 2
    assert module("pretrain", "flips.strength=0")._flips(batch()) == [] == module("stage1")._flips(batch())


@torch.no_grad()
def test_the_test_scores_restored_pictures_beside_bicubic() -> None:
    made = module("stage2")
    made.config.data.test = {"real": PhotosConfig(source="hq", lq="lq")}
    made = NSARMModule(made.config, made.restorer)
    made.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    made.test_step(batch(), 0)
    assert set(made.scores.compute()) == {"test/real/psnr", "test/real/bicubic_psnr"}
    assert tuple(made.entropy_Bhw.shape) == (2, 8, 8)


def test_a_step_tells_how_many_tokens_it_read() -> None:
    made = module("stage2")
    made.training_step(batch(), 0)
    assert (made.work.images, made.work.tokens) == (2, 2 * 85) and made.work.flops > 0
