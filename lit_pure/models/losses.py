"""Cross entropy against a large head without holding all logits at one time.

Knows hidden states, a head and integer labels. Knows nothing of what the labels mean.

Shape legend: N label positions, D width, V vocabulary, C positions of a chunk.
"""

from typing import Any

import torch
from torch import Tensor

ROWS = 64
"""Positions whose normalisers are computed at one time: torch copies their logits for it."""
WORDS = 4096
"""Words whose gradients are added at one time if the sum is in float32 and the products are not."""


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of weighted cross entropies; the gradients are formed chunk by chunk in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor, weight_N: Tensor, chunk: int, z: float
    ) -> Any:
        wants_hidden, wants_head, *_ = ctx.needs_input_grad
        loss_N, normaliser_N = (torch.empty_like(weight_N, dtype=torch.float32) for _ in range(2))
        grad_hidden = torch.empty_like(hidden_ND) if wants_hidden else None
        grad_head = torch.zeros_like(head_VD, dtype=torch.float32) if wants_head else None
        computing = _computing(head_VD)
        with torch.autocast(head_VD.device.type, enabled=False):
            words_VD = head_VD.to(computing)
            for start in range(0, len(hidden_ND), chunk):
                part = slice(start, start + chunk)
                hidden_CD, labels_C, weight_C = hidden_ND[part].to(computing), labels_N[part], weight_N[part]
                slope_CV = _logits(hidden_CD, words_VD, labels_C, loss_N[part], normaliser_N[part])
                if grad_hidden is None and grad_head is None:
                    continue
                slope_CV = _slope(slope_CV, labels_C, weight_C, normaliser_N[part], z).to(computing)
                if grad_hidden is not None:
                    grad_hidden[part] = slope_CV @ words_VD
                if grad_head is not None:
                    _add_product(grad_head, slope_CV, hidden_CD)
                del slope_CV  # or it would exist beside the next one
        # Neither inputs nor outputs, so not for `save_for_backward`; as an attribute they can be freed.
        ctx.gradients = [grad_hidden, None if grad_head is None else grad_head.to(head_VD.dtype)]
        ctx.mark_non_differentiable(loss_N)
        return ((loss_N + z * normaliser_N.square()) * weight_N).sum(), loss_N

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("linear_cross_entropy goes backward only once: its gradients are scaled in place")
        return *(None if item is None else item.mul_(grad) for item in gradients), None, None, None, None


def _computing(head_VD: Tensor) -> torch.dtype:
    """The dtype of the products: the head's own, or bfloat16 under autocast to bfloat16.

    Never float16: gradients are formed before the loss is scaled, and would underflow.
    """
    kind = head_VD.device.type
    bfloat16 = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16
    return torch.bfloat16 if bfloat16 else head_VD.dtype


def _logits(hidden_CD: Tensor, head_VD: Tensor, labels_C: Tensor, loss_C: Tensor, normaliser_C: Tensor) -> Tensor:
    """The logits in float32; fills in losses and normalisers."""
    logits_CV = (hidden_CD @ head_VD.T).float()
    for rows, piece in zip(logits_CV.split(ROWS), normaliser_C.split(ROWS), strict=True):
        piece.copy_(rows.logsumexp(-1))
    torch.sub(normaliser_C, logits_CV.gather(1, labels_C[:, None]).squeeze(1), out=loss_C)
    return logits_CV


def _slope(logits_CV: Tensor, labels_C: Tensor, weight_C: Tensor, normaliser_C: Tensor, z: float) -> Tensor:
    """d loss / d logits = weight ((1 + 2 z normaliser) softmax - one-hot), computed in place of the logits."""
    slope_CV = logits_CV.sub_(normaliser_C[:, None]).exp_()
    if z:
        slope_CV.mul_(1 + 2 * z * normaliser_C[:, None])
    slope_CV.scatter_add_(1, labels_C[:, None], slope_CV.new_full((len(labels_C), 1), -1))
    return slope_CV.mul_(weight_C[:, None])


def _add_product(total_VD: Tensor, slope_CV: Tensor, hidden_CD: Tensor) -> None:
    """total += slope^T hidden, without another tensor as large as the float32 total."""
    if slope_CV.dtype == total_VD.dtype:
        torch.addmm(total_VD, slope_CV.T, hidden_CD, out=total_VD)
        return
    for total, slope in zip(total_VD.split(WORDS), slope_CV.split(WORDS, dim=1), strict=True):
        total += slope.T @ hidden_CD


def linear_cross_entropy(
    hidden_ND: Tensor, head_VD: Tensor, labels_N: Tensor, weight_N: Tensor, chunk: int, z: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The weighted sum of cross entropies (differentiable once), and the cross entropy of each position, detached.

    With logits = hidden head^T and normaliser = log sum exp of a position's logits, the loss of a position is
    normaliser - logits[label] + z normaliser^2. The last part, the z-loss, keeps logits from drifting (PaLM,
    arXiv 2204.02311, section 5). Sums and normalisers are float32; products have the dtype of the head, or bfloat16
    under autocast to bfloat16.

    Memory beside the inputs [byte], exactly as torch's CPU allocator counts it, if hidden and head both need
    gradients; C = min(chunk, N), R = min(ROWS, C):

        gradients   N D (bytes of hidden's dtype) + V D 4      bfloat16 heads: + V D 2 at the end, when C V is free
        logits      C V 4 + max(R V 4 + R 8, C D 4)            products in bfloat16: C V 4 + C V 2
        positions   N 8
        copies      0                                          float32 under autocast to bfloat16: V D 2 + C D 2

    That is 0.46 GB at 8,430 positions, 73,728 words and width 4096 in float32, and 1.21 GB for the head's gradient, as
    much as the head. The length of the sequences that hold the positions does not matter.

    Args:
        hidden_ND: hidden states at label positions, any float dtype.
        head_VD: one row per word.
        labels_N: integers below V.
        weight_N: float32, constant.
        chunk: positions whose logits exist at one time.
        z: weight of the z-loss.

    Returns:
        The loss () with z-loss, and the cross entropies (N,) without it, both float32.
    """
    result: tuple[Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_ND, head_VD, labels_N, weight_N, chunk, z
    )
    return result
