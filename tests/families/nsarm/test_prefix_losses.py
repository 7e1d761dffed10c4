"""Losses of NSARM's prefix: closed forms, and the published sums as their description reads."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.families.nsarm.prefix_losses import (
    anchor_loss,
    bit_accuracy,
    consistency_loss,
    raw_residuals,
    residual_loss,
    running_sums,
)
from tests.golden import golden

GRIDS = [(1, 1), (2, 3), (5, 4), (8, 6)]


def random_residuals() -> list[Tensor]:
    return [torch.randn(2, 3, *grid) for grid in GRIDS]


def test_each_scale_counts_alike_however_many_positions_it_has() -> None:
    """Errors of 1 and 3 everywhere are (1 + 9) / 2, with 1 position and with 16."""
    zeros = [torch.zeros(2, 3, 1, 1), torch.zeros(2, 3, 4, 4)]
    assert residual_loss([zeros[0] + 1, zeros[1] - 3], zeros).item() == 5
    assert anchor_loss([zeros[0] + 1, zeros[1] - 3], zeros, weight=10).item() == 50
    with pytest.raises(ValueError, match="no scale has a loss"):
        residual_loss([], [])
    with pytest.raises(ValueError, match="shorter"):
        residual_loss(zeros, zeros[:1])


def test_the_gradient_of_the_regression_is_its_derivative_and_targets_get_none() -> None:
    """d/dp of (mean over n of (p - t)^2) / K = 2 (p - t) / (n K)."""
    predicted, target = random_residuals(), random_residuals()
    for item in (*predicted, *target):
        item.requires_grad_()
    residual_loss(predicted, target).backward()
    for one, other in zip(predicted, target, strict=True):
        torch.testing.assert_close(one.grad, 2 * (one - other).detach() / (one.numel() * len(GRIDS)))
        assert other.grad is None


def test_bits_are_signs_and_zero_is_bit_0() -> None:
    predicted = [torch.tensor([[[[2.0]], [[-0.1]]]]), torch.tensor([[[[0.0, -0.0, 1.0, -1.0]]]])]
    target = [torch.tensor([[[[0.1]], [[-3.0]]]]), torch.tensor([[[[-1.0, 1.0, -1.0, -2.0]]]])]
    assert bit_accuracy(predicted, target).tolist() == [1, 0.5]


def test_raw_residuals_of_a_flat_latent_are_its_level_and_then_nothing() -> None:
    residuals = raw_residuals(torch.full((1, 2, 8, 6), 0.75), GRIDS)
    assert [tuple(item.shape[-2:]) for item in residuals] == GRIDS
    assert residuals[0].unique().tolist() == [0.75]
    assert all(item.abs().max() < 1e-6 for item in residuals[1:])


def test_raw_residuals_up_to_the_last_grid_sum_up_to_the_latent() -> None:
    latent_BdHW = torch.randn(2, 3, 8, 6)
    sums = running_sums(raw_residuals(latent_BdHW, GRIDS), (8, 6))
    torch.testing.assert_close(sums[-1], latent_BdHW)
    torch.testing.assert_close(sums[0], latent_BdHW.mean((2, 3), keepdim=True))


def described_sums(latent_BdHW: Tensor | None, given: list[Tensor], final: tuple[int, int]) -> list[Tensor]:
    """The published loop as it is described, on films of one frame: of a latent, or of given residuals."""
    total: Tensor | float = 0.0
    sums = []
    for item in given:
        size = (1, *item.shape[-2:])
        residual = item[:, :, None]
        if latent_BdHW is not None:
            residual = F.interpolate(latent_BdHW[:, :, None] - total, size=size, mode="area")
        total = total + F.interpolate(residual, size=(1, *final), mode="trilinear")
        sums.append(F.interpolate(total, size=size, mode="area")[:, :, 0])
    return sums


def test_running_sums_are_those_of_their_description() -> None:
    latent_BdHW, predicted = torch.randn(2, 3, 12, 9), random_residuals()
    for latent in (latent_BdHW, None):
        ours = running_sums(raw_residuals(latent, GRIDS) if latent is not None else predicted, (12, 9))
        for one, other in zip(ours, described_sums(latent, predicted, (12, 9)), strict=True):
            torch.testing.assert_close(one, other)


def test_consistency_is_the_squared_distance_of_sums_and_reaches_every_scale() -> None:
    """Residuals that are right cost nothing; one number more in scale 1 is in all sums: the loss is its square."""
    latent_BdHW = torch.randn(2, 3, 8, 6)
    right = raw_residuals(latent_BdHW, GRIDS)
    assert consistency_loss(right, latent_BdHW).item() == pytest.approx(0, abs=1e-12)
    shifted = [(right[0] + 0.5).requires_grad_(), *(item.clone().requires_grad_() for item in right[1:])]
    loss = consistency_loss(shifted, latent_BdHW)
    loss.backward()
    assert loss.item() == pytest.approx(0.25)
    assert all(item.grad is not None and item.grad.any() for item in shifted)


def test_running_sums_are_the_recorded_ones() -> None:
    """In the published raw view, every fifth row of all scales together."""
    arrays = {**golden("b_stage2_relabel"), **golden("b_consistency_sums")}
    latent_BdHW = torch.from_numpy(arrays["F"])
    grids = [(int(height), int(width)) for height, width in arrays["vae_schedule"][:7]]
    final = (latent_BdHW.shape[-2], latent_BdHW.shape[-1])
    prefix = [
        torch.from_numpy(arrays[f"prefix_raw_{number}"]).float().reshape(1, -1, *grid)
        for number, grid in enumerate(grids, 1)
    ]
    for key, residuals in {"gt": raw_residuals(latent_BdHW, grids), "pred": prefix}.items():
        rows_BTd = torch.cat([item.reshape(1, -1, item.shape[1]) for item in running_sums(residuals, final)], dim=1)
        recorded = torch.from_numpy(arrays[key])
        torch.testing.assert_close(rows_BTd[:, arrays["rows"]].reshape_as(recorded), recorded, atol=5e-6, rtol=0)
