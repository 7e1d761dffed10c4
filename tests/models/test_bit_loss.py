"""Loss and accuracy of bits: recorded values, and torch's cross entropy of two classes as oracle."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lit_pure.models.bit_loss import bit_loss, bit_scores, token_weights
from tests.golden import golden, grids_of, tensor

GRIDS = [(1, 1), (2, 3), (4, 6)]


@pytest.mark.parametrize("case", ["r1.0_0.06M", "r1.25_0.06M_first5"])
def test_recorded_losses(case: str) -> None:
    values = golden("h_loss")
    grids = grids_of(values[f"{case}/schedule"])
    logits = tensor(values[f"{case}/logits"]).unflatten(-1, (-1, 2))
    labels = tensor(values[f"{case}/labels"])
    weights = token_weights(grids)
    assert np.abs(weights.numpy() - values[f"{case}/token_weight"]).max() <= 1e-7
    assert float(bit_loss(logits, labels, weights)) == pytest.approx(float(values[f"{case}/loss_reweighted"]), rel=1e-6)
    plain = bit_loss(logits, labels, token_weights(grids, reweighted=False))
    assert float(plain) == pytest.approx(float(values[f"{case}/loss_plain"]), rel=1e-6)
    scores = bit_scores(logits, labels, grids)
    assert float(scores.bit) == pytest.approx(float(values[f"{case}/bit_accuracy"]), abs=1e-6)
    assert float(scores.token) == pytest.approx(float(values[f"{case}/token_accuracy"]), abs=1e-6)


def test_a_scale_counts_like_its_side() -> None:
    parts = token_weights([(1, 1), (4, 4), (8, 8)]).split([1, 16, 64])
    assert [float(part.sum()) for part in parts] == pytest.approx([1 / 13, 4 / 13, 8 / 13])


def test_known_scales_do_not_count() -> None:
    weights = token_weights(GRIDS, known=2)
    assert not weights[:7].any() and torch.allclose(weights[7:], torch.full((24,), 1 / 24))
    with pytest.raises(ValueError, match="3 of 3 scales are known"):
        token_weights(GRIDS, known=3)


def test_the_loss_is_cross_entropy_of_two_classes() -> None:
    logits = torch.randn(2, 31, 5, 2, requires_grad=True)
    labels = torch.randint(2, (2, 31, 5))
    weights = token_weights(GRIDS)
    each = F.cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="none").view(2, 31, 5)
    expected = (each.mean((0, 2)) * weights).sum()
    found = bit_loss(logits, labels, weights)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits))
    scores = bit_scores(logits, labels, GRIDS)
    per_scale = [part.mean().item() for part in each.split([1, 6, 24], dim=1)]
    assert scores.loss_K.tolist() == pytest.approx(per_scale, rel=1e-5)


def test_scores_by_scale() -> None:
    labels = torch.ones(1, 31, 4, dtype=torch.long)
    logits = torch.stack([torch.zeros(1, 31, 4), torch.ones(1, 31, 4)], dim=-1)
    logits[0, 1, 0, 1] = -1  # one bit of the second scale
    logits[0, 7:, :, 1] = 0  # equal logits say 0
    scores = bit_scores(logits, labels, GRIDS)
    assert scores.bit_K.tolist() == pytest.approx([1, 23 / 24, 0])
    assert scores.token_K.tolist() == pytest.approx([1, 5 / 6, 0])
    assert float(scores.bit) == pytest.approx(27 / 124) and float(scores.token) == pytest.approx(6 / 31)
