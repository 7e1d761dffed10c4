"""The chunked loss equals the plain one, gradients included, and never holds all logits."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lit_pure.backbone.losses import linear_cross_entropy

POSITIONS, WIDTH, ROWS = 203, 32, 307


class LargestTensor(TorchDispatchMode):
    """Remembers how many numbers the largest result of any operation has."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for item in torch.utils._pytree.tree_leaves(result):
            if isinstance(item, torch.Tensor):
                self.numbers = max(self.numbers, item.numel())
        return result


def problem(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    hidden_ND = torch.randn(POSITIONS, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    head_VD = (torch.randn(ROWS, WIDTH, generator=generator, dtype=dtype) / 4).requires_grad_()
    labels_N = torch.randint(ROWS, (POSITIONS,), generator=generator)
    weight_N = torch.rand(POSITIONS, generator=generator) / POSITIONS
    return hidden_ND, head_VD, labels_N, weight_N


@pytest.mark.parametrize("chunk", [1, 64, POSITIONS, 10_000])
def test_loss_and_gradients_equal_the_plain_ones(chunk: int) -> None:
    hidden_ND, head_VD, labels_N, weight_N = problem()
    loss, each_N = linear_cross_entropy(hidden_ND, head_VD, labels_N, weight_N, chunk)
    plain_N = torch.nn.functional.cross_entropy(hidden_ND @ head_VD.T, labels_N, reduction="none")
    plain = (plain_N * weight_N).sum()
    assert float((loss - plain).detach().abs()) <= 1e-6
    assert torch.allclose(each_N, plain_N, atol=1e-5) and not each_N.requires_grad
    ours, theirs = (torch.autograd.grad(3 * value, [hidden_ND, head_VD]) for value in (loss, plain))
    for mine, yours in zip(ours, theirs, strict=True):
        assert float((mine - yours).abs().max()) <= 1e-6
        assert float(yours.abs().max()) > 1e-4, "a gradient of nothing proves nothing"


def test_no_tensor_of_all_positions_by_the_vocabulary_exists() -> None:
    hidden_ND, head_VD, labels_N, weight_N = problem()
    with LargestTensor() as chunked:
        linear_cross_entropy(hidden_ND, head_VD, labels_N, weight_N, chunk=16)[0].backward()
    assert chunked.numbers == max(ROWS * WIDTH, 16 * ROWS)
    with LargestTensor() as plain:
        torch.nn.functional.cross_entropy(hidden_ND @ head_VD.T, labels_N).backward()
    assert plain.numbers == POSITIONS * ROWS, "the probe must see what it is meant to see"


def test_a_frozen_head_costs_no_gradient() -> None:
    hidden_ND, head_VD, labels_N, weight_N = problem()
    loss, _ = linear_cross_entropy(hidden_ND, head_VD.detach(), labels_N, weight_N, chunk=50)
    loss.backward()
    assert hidden_ND.grad is not None and head_VD.grad is None
