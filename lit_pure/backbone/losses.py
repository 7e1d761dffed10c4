"""Cross entropy against a large head without ever holding all logits.

Knows hidden states, a head and integer labels. Knows nothing of what the labels mean.

Shape legend: N label positions, D width, V vocabulary, C positions of a chunk.
"""

from typing import Any

import torch
from torch import Tensor


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of weighted cross entropies; the gradients are formed chunk by chunk in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor, weight_N: Tensor, chunk: int) -> Any:
        loss_N = torch.empty(len(hidden_ND), dtype=torch.float32, device=hidden_ND.device)
        grad_hidden = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for start in range(0, len(hidden_ND), chunk):
            part = slice(start, start + chunk)
            logits_CV = (hidden_ND[part] @ head_VD.T).float()
            labels_C1 = labels_N[part, None]
            normaliser_C = logits_CV.logsumexp(-1)
            loss_N[part] = normaliser_C - logits_CV.gather(1, labels_C1).squeeze(1)
            if grad_hidden is None and grad_head is None:
                continue
            # d loss / d logits = softmax - one-hot, made in place of the logits.
            slope_CV = logits_CV.sub_(normaliser_C[:, None]).exp_()
            slope_CV.scatter_add_(1, labels_C1, torch.full_like(labels_C1, -1, dtype=slope_CV.dtype))
            slope_CV = slope_CV.mul_(weight_N[part, None]).to(hidden_ND.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = slope_CV @ head_VD
            if grad_head is not None:
                grad_head += slope_CV.T @ hidden_ND[part]
        ctx.save_for_backward(grad_hidden, None if grad_head is None else grad_head.to(head_VD.dtype))
        ctx.mark_non_differentiable(loss_N)
        return (loss_N * weight_N).sum(), loss_N

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Any:
        grad_hidden, grad_head = ctx.saved_tensors
        scaled = (None if item is None else item * grad.to(item.dtype) for item in (grad_hidden, grad_head))
        return *scaled, None, None, None


def linear_cross_entropy(
    hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor, weight_N: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Weighted sum of -log softmax(hidden head^T)[label] (differentiable), and each position's value (N,), detached.

    At most `chunk` x V logits exist at one time, so memory does not grow with N. `weight_N` is float32 and constant.
    """
    result: tuple[Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_ND, head_VD, labels_N, weight_N, chunk
    )
    return result
