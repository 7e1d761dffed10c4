"""Training on two processes against training on one; activations computed again; compiled blocks."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_pure.config.pure import BackboneConfig
from lit_pure.config.training import TrainerConfig
from lit_pure.families.pure.sequence.assemble import IGNORE
from lit_pure.lit.distributed.sharding import prepare
from lit_pure.models.losses import linear_cross_entropy
from lit_pure.models.next_token import NextTokenBackbone
from tests.forks import together
from tests.lit.distributed.sharded import LONG, PLANS, VOCABULARY, Pictures, Plan, collate, module, train

TINY = BackboneConfig(width=32, layers=2, heads=2, ffn=48, dropout=0.1)
KINDS = ("none", "block", "selective")

Load = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """What each of two processes saw in a training."""
    folder = tmp_path_factory.mktemp("sharded")
    together(Path(__file__).with_name("sharded.py"), folder)
    return lambda name: [torch.load(folder / f"{name}_{rank}.pt", weights_only=False) for rank in range(2)]


@cache
def alone(
    steps: int, frozen: bool = False, muted: bool = False, precision: str = "32-true", prior: float = 0.0
) -> dict[str, Any]:
    """What a plain training on one process saw."""
    return train(Plan("auto", steps, frozen, muted, {"precision": precision}, prior), 0, 1)


def reference(name: str) -> dict[str, Any]:
    plan = PLANS[name]
    return alone(plan.steps, plan.frozen, plan.muted, plan.settings.get("precision", "32-true"), plan.prior)


def close(found: list[float], expected: list[float]) -> bool:
    return len(found) == len(expected) and found == pytest.approx(expected, rel=1e-5)


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    """Pictures and entropies: codes are drawn with the same noise, so a code that differs shows."""
    return all(torch.allclose(one, other, atol=1e-4) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", [name for name in PLANS if name != "fsdp_bf16"])
def test_two_processes_find_the_losses_and_weights_of_one(on_two: Load, name: str) -> None:
    expected, (first, second) = reference(name), on_two(name)
    assert len(first["losses"]) == PLANS[name].steps and PLANS["fsdp"].steps == LONG
    assert close(first["losses"], expected["losses"])
    assert second["losses"] == first["losses"]
    for found, right in zip(first["val"], expected["val"], strict=True):
        assert close(list(found.values()), list(right.values()))
    assert first["val"] == second["val"]
    assert not second["state"]
    assert first["state"].keys() == expected["state"].keys()
    for key, item in first["state"].items():
        # AdamW divides by the size of a gradient, however small: rounding errors show where that is tiny.
        assert torch.allclose(item, expected["state"][key], atol=1e-4), key


def test_gradients_of_these_trainings_are_large_enough_to_be_clipped() -> None:
    made = module(Plan("auto"))
    loss, _, _ = made._loss(collate([Pictures()[0, index] for index in range(4)]), [False] * 4)
    loss.backward()
    assert float(torch.nn.utils.get_total_norm([item.grad for item in made.parameters() if item.grad is not None])) > 1


def test_each_of_two_processes_holds_half_of_the_backbone(on_two: Load) -> None:
    expected = sum(item.numel() for item in module(Plan("auto")).backbone.parameters())
    pieces = [found["pieces"] for found in on_two("fsdp")]
    assert sum(here for here, _ in pieces) == expected
    assert all(abs(here - expected / 2) < 100 and whole == expected for here, whole in pieces)
    assert [found["cut"] for found in on_two("fsdp")] == [[True] * 4] * 2


@pytest.mark.parametrize("name", PLANS)
def test_sharding_keeps_the_names_of_parameters(on_two: Load, name: str) -> None:
    plain = Plan("auto", prior=PLANS[name].prior)
    names = list(module(plain).state_dict())
    for found in on_two(name):
        assert found["keys"] == [names, names]
    module(plain).load_state_dict({f"backbone.{key}": item for key, item in on_two(name)[0]["state"].items()})


@pytest.mark.parametrize("name", ["fsdp", "ddp"])
def test_a_gathered_backbone_restores_what_one_that_was_never_sharded_does(on_two: Load, name: str) -> None:
    expected, found = reference(name), on_two(name)
    for number, (names, pictures, entropies) in enumerate(expected["restored"]):
        for rank, (own, picture, entropy) in enumerate(each["restored"][number] for each in found):
            assert own == [names[rank]]
            assert same((picture[0], entropy[0]), (pictures[rank], entropies[rank]))
    # The first process also did so while the second made no pass, and both did when training was over.
    assert found[0]["alone"] and not found[1]["alone"]
    assert all(same(each["after"], expected["after"]) for each in found)
    entropies_of = [each[1] for each in found[0]["alone"]]
    assert not torch.allclose(entropies_of[0], entropies_of[-1], atol=1e-2), "it has learned nothing in between"
    assert same(found[0]["alone"][-1], expected["after"])


def test_bfloat16_is_computed_with_and_float32_is_stored(on_two: Load) -> None:
    for found in on_two("fsdp_bf16"):
        assert found["computed_in"] == torch.bfloat16 and found["stored_in"] == {torch.float32}
        assert found["losses"] == pytest.approx(alone(4, precision="bf16-mixed")["losses"], rel=3e-3)
        assert found["losses"] != alone(4)["losses"]
        assert {item.dtype for item in found["state"].values()} <= {torch.float32}


def test_sharded_training_leaves_frozen_parameters_alone(on_two: Load) -> None:
    before = module(PLANS["fsdp_frozen"]).backbone
    state = on_two("fsdp_frozen")[0]["state"]
    changed = {name for name, item in before.state_dict().items() if not torch.equal(item, state[name])}
    assert changed == {name for name, item in before.named_parameters() if item.requires_grad}


def test_the_loss_of_one_process_is_to_the_last_bit_the_mean_over_answer_tokens() -> None:
    made = module(Plan("auto"))
    batch = collate([Pictures()[0, index] for index in range(4)])
    loss, _, _ = made._loss(batch, [False, True, False, False])
    ids_BT, labels_BT = made.restorer.assembler.batch(made.samples(batch), [False, True, False, False])
    keep_BT = labels_BT[:, 1:] != IGNORE
    labels_N = labels_BT[:, 1:][keep_BT]
    weight_N = torch.full(labels_N.shape, 1 / len(labels_N))
    hidden_ND, head_VD = made.backbone(ids_BT[:, :-1])[keep_BT], made.backbone.head.weight
    expected, _ = linear_cross_entropy(hidden_ND, head_VD, labels_N, weight_N, made.backbone.config.loss_chunk)
    assert torch.equal(loss, expected)


def test_a_batch_without_any_label_teaches_nothing() -> None:
    made = module(Plan("auto", muted=True))
    logged: dict[str, float] = {}
    made.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[assignment, method-assign]
    real = made.restorer.assembler.batch

    def without(*arguments: Any) -> tuple[Tensor, Tensor]:
        ids_BT, labels_BT = real(*arguments)
        return ids_BT, torch.full_like(labels_BT, IGNORE)

    made.restorer.assembler.batch = without  # type: ignore[method-assign]
    loss = made.training_step(collate([Pictures()[0, 0]]), 0)
    loss.backward()
    assert float(loss.detach()) == 0 and logged == {"train/loss": 0}
    assert all(not item.grad.any() for item in made.backbone.parameters() if item.grad is not None)


def learned(backbone: NextTokenBackbone) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients, with dropout."""
    torch.manual_seed(1)
    ids_BT = torch.randint(VOCABULARY.size, (3, 40))
    loss = torch.nn.functional.cross_entropy(backbone.logits(ids_BT).flatten(0, 1), ids_BT.flatten())
    loss.backward()
    return loss.detach(), {name: item.grad for name, item in backbone.named_parameters() if item.grad is not None}


def prepared(config: BackboneConfig, **settings: Any) -> NextTokenBackbone:
    torch.manual_seed(0)
    backbone = NextTokenBackbone(config, VOCABULARY.size)
    prepare(backbone, TrainerConfig(**settings), None)
    return backbone


@pytest.mark.parametrize("kind", KINDS[1:])
def test_activation_checkpointing_changes_no_bit_of_the_gradients(kind: str) -> None:
    loss, gradients = learned(prepared(TINY))
    again_loss, again = learned(prepared(TINY, activation_checkpointing=kind))
    assert torch.equal(loss, again_loss)
    assert gradients.keys() == again.keys()
    assert all(torch.equal(gradients[name], again[name]) for name in gradients)


class Born(TorchDispatchMode):
    """Notes all memory that operators allocate, whoever holds it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)):
            storage = tensor.untyped_storage()
            self.made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return result

    def alive(self, known: set[int]) -> int:
        """Of memory that is not `known` [byte]."""
        return sum(size for key, (held, size) in self.made.items() if key not in known and not held.expired())


def held(kind: str, layers: int) -> int:
    """Bytes beside the parameters that a forward pass leaves for the backward pass."""
    config = BackboneConfig(width=32, layers=layers, heads=2, ffn=48, dropout=0.0)
    backbone = prepared(config, activation_checkpointing=kind)
    with Born() as born:
        hidden_BTD = backbone(torch.randint(VOCABULARY.size, (3, 40)))
        size = born.alive({item.untyped_storage()._cdata for item in backbone.parameters()})
    assert hidden_BTD.requires_grad
    return size


def test_activation_checkpointing_bounds_what_a_block_holds_for_the_backward_pass() -> None:
    none, block, selective = (held(kind, layers=3) - held(kind, layers=2) for kind in KINDS)
    numbers = 3 * 40  # B T
    assert block == numbers * 32 * 4  # what goes into a block, and nothing else
    # Beside it q, k, v, the mixed values, two outputs, gate and up; and a normaliser per position and head.
    assert selective == numbers * (32 + 6 * 32 + 2 * 48 + 2) * 4
    assert none > 1.5 * selective


def test_activation_checkpointing_leaves_decoding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = prepared(TINY, activation_checkpointing="block").eval()
    ids_BT = torch.randint(VOCABULARY.size, (1, 9))
    expected = backbone(ids_BT)

    def refuse(*_: Any) -> Tensor:
        raise AssertionError("a pass without gradients went the way of training")

    for block in backbone.blocks:
        monkeypatch.setattr(block, "train_forward", refuse)
    with torch.no_grad():
        assert torch.equal(backbone(ids_BT), expected)


def test_compiled_blocks_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = BackboneConfig(width=32, layers=2, heads=2, ffn=48, dropout=0.0)
    loss, gradients = learned(prepared(plain))
    # Traced and differentiated, but nothing is left to a C++ compiler, which takes half a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    backbone = prepared(plain, compile=True)
    compiled_loss, compiled = learned(backbone)
    assert float(compiled_loss) == pytest.approx(float(loss), rel=1e-6)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, compiled[name], atol=1e-6), name


@pytest.mark.parametrize("kind", KINDS)
def test_all_blocks_share_one_graph_whatever_their_number_and_one_for_all_lengths(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter, real = CompileCounterWithBackend("eager"), torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: real(function, backend=counter))
    # More layers than torch compiles a function anew for.
    deep = BackboneConfig(width=32, layers=12, heads=2, ffn=48)
    backbone = prepared(deep, compile=True, activation_checkpointing=kind)
    for length in (9, 12, 17):
        backbone.logits(torch.randint(VOCABULARY.size, (2, length))).sum().backward()
    assert counter.frame_count == 2  # the first length, then any
