"""Binary spherical quantisation: golden values of the published code, closed forms, and finite differences."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.models import bsq
from lit_pure.models.scales import Grid, latent_grids, spans, tokens
from tests.golden import grids_of, numbers

GRIDS: list[Grid] = [(1, 1), (2, 2), (4, 6), (8, 12)]
TOLERANCE = 5e-6


def features(batch: int = 2, bits: int = 6, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(batch, bits, *GRIDS[-1], generator=torch.Generator().manual_seed(seed), dtype=dtype)


def last_of(x_1D1hwd: Tensor) -> Tensor:
    """Bits or flips as recorded, (B, 1, h, w, D) -> (B, D, h, w), bool."""
    return x_1D1hwd[:, 0].movedim(-1, 1).bool()


def close(found: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)


def test_a_code_is_the_nearest_vertex_of_the_sphere() -> None:
    z_ND = torch.randn(40, 5)
    vertices_MD = torch.tensor([[1 - 2 * (number >> bit & 1) for bit in range(5)] for number in range(32)]) / 5**0.5
    nearest_N = (F.normalize(z_ND, dim=1) @ vertices_MD.T).argmax(1)
    close(bsq.quantize(z_ND), vertices_MD[nearest_N], 1e-7)


def test_zero_is_bit_0_and_a_code_has_length_1_even_then() -> None:
    z_ND = torch.tensor([[0.0, 0, 0, 0], [-0.0, 1, -1, 0], [1e-30, -1e-30, 5, 0]])
    assert (bsq.quantize(z_ND) > 0).tolist() == [[False] * 4, [False, True, False, False], [True, False, True, False]]
    close(bsq.quantize(z_ND).norm(dim=1), torch.ones(3), 1e-6)


def test_the_gradient_of_a_code_is_that_of_the_normalised_vector() -> None:
    z_ND = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    cotangent_ND = torch.randn(3, 5, dtype=torch.float64)
    (found,) = torch.autograd.grad((bsq.quantize(z_ND) * cotangent_ND).sum(), z_ND)
    step = 1e-6 * torch.eye(15, dtype=torch.float64).view(15, 3, 5)

    def total(z: Tensor) -> Tensor:
        return (z / z.norm(dim=1, keepdim=True) * cotangent_ND).sum()

    wanted = torch.stack([total(z_ND + each) - total(z_ND - each) for each in step]) / 2e-6
    torch.testing.assert_close(found.flatten(), wanted.detach(), rtol=1e-6, atol=1e-8)


def test_edges_of_the_quantiser() -> None:
    known = numbers("a_bsq_edge")
    z_ND = known["z"].requires_grad_()
    code_ND = bsq.quantize(z_ND)
    close(code_ND, known["code"])
    assert torch.equal(code_ND > 0, known["bits"].bool())
    close(bsq.codes(known["bits"]), known["codes_from_bits"])
    (found,) = torch.autograd.grad((code_ND * known["cotangent"]).sum(), z_ND)
    torch.testing.assert_close(found, known["grad_z"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "patch"), [("a_bsq_d14_patch_r1.0", 2), ("a_bsq_d32_r1.5", 1)])
def test_scales_are_encoded_as_published(name: str, patch: int) -> None:
    known = numbers(name)
    cells = grids_of(known["vae_schedule"])
    assert cells == latent_grids(grids_of(known["scale_schedule"]), patch)
    found = bsq.encode_scales(known["F"], cells)
    for scale in (1, 2, 3):
        close(found.residuals_BDhw[scale - 1], known[f"residual_{scale}"])
    for scale in (1, 3, 7):
        close(found.sums_BDHW[scale - 1], known[f"Fhat_{scale}"])
    for scale, bits_BDhw in enumerate(found.bits_BDhw, 1):
        assert torch.equal(bits_BDhw, last_of(known[f"bits_{scale}"]))
    assert torch.equal(bsq.labels(found.bits_BDhw, patch), known["labels"].bool())
    close(bsq.inputs(found.sums_BDHW, cells, patch), known["inputs_trilinear"])
    close(bsq.inputs(found.sums_BDHW, cells, patch, "area"), known["inputs_area"])
    close(bsq.decode_scales(found.bits_BDhw, cells[-1]), known["Fhat_7"])


@pytest.mark.parametrize("keep", [False, True])
def test_self_correction_is_as_published(keep: bool) -> None:
    known = numbers("b_bsc_d14_patch_r1.0_all")
    cells = grids_of(known["vae_schedule"])
    flips = [last_of(known[f"flips_{scale}"]) for scale in range(1, int(known["n_flipped_scales"]) + 1)]
    found = bsq.encode_scales(known["F"], cells, flips_BDhw=flips, flips_keep_gradient=keep)
    assert torch.equal(bsq.labels(found.bits_BDhw, 2), known["labels"].bool())
    close(bsq.inputs(found.sums_BDHW, cells, 2), known["inputs_trilinear"])
    close(found.sums_BDHW[-1], known["Fhat_final"])


def test_labels_and_inputs_after_a_prefix_are_as_published() -> None:
    known = numbers("b_stage2_relabel")
    schedule, cells = grids_of(known["schedule"]), grids_of(known["vae_schedule"])
    clean = bsq.encode_scales(known["F"], cells)
    assert torch.equal(bsq.labels(clean.bits_BDhw, 2), known["labels_clean"].bool())
    for scale, residual_BDhw in enumerate(clean.residuals_BDhw[:7], 1):
        close(bsq.to_raw(residual_BDhw), known[f"target_residual_raw_{scale}"])
    raw = [known[f"prefix_raw_{scale}"].requires_grad_() for scale in range(1, 8)]
    prefix = [bsq.from_raw(each, grid) for each, grid in zip(raw, cells, strict=False)]
    found = bsq.encode_scales(known["F"], cells, prefix_BDhw=prefix)
    assert torch.equal(bsq.labels(found.bits_BDhw, 2), known["labels_after_prefix"].bool())
    inputs_BLE = bsq.inputs(found.sums_BDHW, cells, 2)
    close(inputs_BLE, known["inputs_after_prefix"])
    for scale in (8, 9):
        rows = slice(*(edge - 1 for edge in (spans(schedule)[scale - 1].start, spans(schedule)[scale - 1].stop)))
        loss = (inputs_BLE * known["cotangent"])[:, rows].sum()
        for number, gradient in enumerate(torch.autograd.grad(loss, raw, retain_graph=True), 1):
            wanted = known[f"grad_prefix_from_scale{scale}_{number}"]
            assert float((gradient - wanted).norm() / wanted.norm()) < 1e-6


def test_bits_decode_to_the_sum_of_codes_in_every_bit() -> None:
    clean = bsq.encode_scales(features(), GRIDS)
    assert torch.equal(bsq.decode_scales(clean.bits_BDhw, GRIDS[-1]), clean.sums_BDHW[-1])
    flips = bsq.draw_flips(GRIDS, 2, 6, 0.0, torch.Generator().manual_seed(0))
    flipped = bsq.encode_scales(features(), GRIDS, flips_BDhw=flips)
    for one, other in zip(clean.bits_BDhw + clean.sums_BDHW, flipped.bits_BDhw + flipped.sums_BDHW, strict=True):
        assert torch.equal(one, other)
    # The signs of what each scale was given are its bits: the same picture has the same residuals, by hand.
    sum_BDHW = torch.zeros_like(features())
    for grid, bits_BDhw in zip(GRIDS, clean.bits_BDhw, strict=True):
        assert torch.equal(F.adaptive_avg_pool2d(features() - sum_BDHW, grid) > 0, bits_BDhw)
        sum_BDHW = sum_BDHW + bsq.enlarge(bsq.codes(bits_BDhw), GRIDS[-1])


def test_labels_are_taken_before_the_flip_and_later_scales_repair_it() -> None:
    clean = bsq.encode_scales(features(), GRIDS)
    flips = [torch.zeros(2, 6, *grid, dtype=torch.bool) for grid in GRIDS[:2]]
    flips[0][:, 0] = True
    found = bsq.encode_scales(features(), GRIDS, flips_BDhw=flips)
    assert torch.equal(found.bits_BDhw[0], clean.bits_BDhw[0]), "the label is the picture's own sign"
    assert not torch.equal(found.bits_BDhw[1], clean.bits_BDhw[1]), "the next scale sees the error"
    errors = [(features() - each.sums_BDHW[-1]).square().mean() for each in (clean, found)]
    unrepaired = [each.clone() for each in clean.bits_BDhw]
    unrepaired[0] ^= flips[0]
    without = (features() - bsq.decode_scales(unrepaired, GRIDS[-1])).square().mean()
    assert errors[1] - errors[0] < 0.5 * (without - errors[0])


def surrogate(constants: Sequence[Tensor]) -> Callable[[Tensor, int], Tensor]:
    """Quantisation as its gradient sees it: the normalised vector plus what is constant."""
    return lambda z, index: z / z.norm(dim=1, keepdim=True) + constants[index]


@pytest.mark.parametrize(("flipped", "keep"), [(False, True), (True, True), (True, False)])
def test_the_gradient_of_a_prefix_is_that_of_finite_differences(flipped: bool, keep: bool) -> None:
    cells: list[Grid] = [(1, 1), (2, 2), (3, 3), (4, 4)]
    draw = torch.Generator().manual_seed(1)
    truth = torch.randn(1, 3, 4, 4, generator=draw, dtype=torch.float64)
    prefix = [torch.randn(1, 3, *grid, generator=draw, dtype=torch.float64) for grid in cells[:2]]
    flips = [torch.rand(1, 3, *grid, generator=draw) < 0.4 * flipped for grid in cells]
    leaves = [each.clone().requires_grad_() for each in prefix]
    found = bsq.encode_scales(truth, cells, flips_BDhw=flips, flips_keep_gradient=keep, prefix_BDhw=leaves)
    inputs_BLE = bsq.inputs(found.sums_BDHW, cells, 1)
    cotangent = torch.randn(inputs_BLE.shape, generator=draw, dtype=torch.float64)
    gradients = torch.autograd.grad((inputs_BLE * cotangent).sum(), leaves)

    def walk(given: Sequence[Tensor], quantize: Callable[[Tensor, int], Tensor]) -> Tensor:
        """The loop written out; scales after the prefix are flipped."""
        total, rows = torch.zeros_like(truth), []
        for index, grid in enumerate(cells):
            z = given[index] if index < len(given) else F.adaptive_avg_pool2d(truth - total, grid)
            code = quantize(z, index)
            if index >= len(given):
                code = code * (1 - 2 * flips[index].double())
            total = total + F.interpolate(code, cells[-1], mode="bilinear")
            if index + 1 < len(cells):
                following = F.interpolate(total, cells[index + 1], mode="bilinear")
                rows.append(following.flatten(2).transpose(1, 2))
        return (torch.cat(rows, 1) * cotangent).sum()

    constants: list[Tensor] = []
    fixed: list[Tensor] = []

    def record(z: Tensor, index: int) -> Tensor:
        code = ((z > 0).double() * 2 - 1) / 3**0.5
        constants.append(code - z / z.norm(dim=1, keepdim=True))
        fixed.append(code)
        return code

    torch.testing.assert_close(walk(prefix, record), (inputs_BLE * cotangent).sum().detach())
    smooth = surrogate(constants)

    def quantize(z: Tensor, index: int) -> Tensor:
        return smooth(z, index) if keep or index < 2 else fixed[index]

    for number, each in enumerate(prefix):
        wanted = torch.zeros_like(each).flatten()
        for place in range(each.numel()):
            ends = []
            for sign in (1, -1):
                moved = [item.clone() for item in prefix]
                moved[number].view(-1)[place] += sign * 1e-6
                ends.append(walk(moved, quantize))
            wanted[place] = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(gradients[number].flatten(), wanted, rtol=1e-6, atol=1e-7)


def test_detached_sums_leave_each_scale_its_own_gradient() -> None:
    given = features().requires_grad_()
    found = bsq.encode_scales(given, GRIDS, detach_sums=True)
    (gradient,) = torch.autograd.grad(found.residuals_BDhw[-1].sum(), given)
    assert torch.equal(gradient, torch.ones_like(given))
    (other,) = torch.autograd.grad(bsq.encode_scales(given, GRIDS).residuals_BDhw[-1].sum(), given)
    assert not torch.allclose(other, gradient)


def test_residuals_along_a_prefix_are_what_it_leaves() -> None:
    prefix = [torch.randn(2, 6, *grid) for grid in GRIDS[:2]]
    found = bsq.encode_scales(features(), GRIDS, prefix_BDhw=prefix)
    assert all(torch.equal(found.bits_BDhw[index], prefix[index] > 0) for index in range(2))
    left = features() - bsq.enlarge(bsq.codes(prefix[0] > 0), GRIDS[-1])
    close(found.residuals_BDhw[1], F.adaptive_avg_pool2d(left, GRIDS[1]), 1e-6)


def test_a_scale_that_is_left_out_of_a_picture_adds_nothing_to_it() -> None:
    kept_BK = torch.tensor([[True, True, True, True], [True, False, True, False]])
    found = bsq.encode_scales(features(), GRIDS, kept_BK=kept_BK)
    full = bsq.encode_scales(features(), GRIDS)
    assert torch.equal(found.sums_BDHW[-1][0], full.sums_BDHW[-1][0])
    assert torch.equal(found.sums_BDHW[1][1], found.sums_BDHW[0][1])
    assert not torch.equal(found.sums_BDHW[2][1], found.sums_BDHW[1][1])
    share = bsq.draw_kept(100, 100, 0.1, torch.Generator().manual_seed(0)).float().mean()
    assert float(share) == pytest.approx(0.9, abs=0.01)


def test_flips_have_one_probability_a_scale() -> None:
    draw = torch.Generator().manual_seed(0)
    assert {round(100 * p) for p in bsq.draw_probabilities(4000, 0.29, draw)} == set(range(30))
    uniforms = [torch.tensor([0.0, 0.2, 0.3, 0.9]), torch.tensor([0.1, 0.0, 0.5, 0.7])]
    found = bsq.flips_from(uniforms, [0.3, 0.0])
    assert [each.tolist() for each in found] == [[True, True, False, False], [False] * 4]
    drawn = bsq.draw_flips([(50, 50)] * 30, 2, 6, 0.3, draw)
    shares = torch.tensor([[float(picture.float().mean()) for picture in scale] for scale in drawn])
    assert float((shares[:, 0] - shares[:, 1]).abs().max()) < 0.02, "one probability for the whole batch"
    assert float(shares.mean()) == pytest.approx(0.15, abs=0.05) and float(shares.max()) < 0.32
    again = bsq.draw_flips([(50, 50)], 2, 6, 0.3, torch.Generator().manual_seed(5))
    assert torch.equal(again[0], bsq.draw_flips([(50, 50)], 2, 6, 0.3, torch.Generator().manual_seed(5))[0])


@pytest.mark.parametrize("patch", [1, 2])
def test_tokens_hold_patches_and_are_read_back(patch: int) -> None:
    cells: list[Grid] = [(2, 2), (4, 6)]
    bits = [torch.rand(2, 3, *grid) < 0.5 for grid in cells]
    labels_BLE = bsq.labels(bits, patch)
    assert labels_BLE.shape == (2, tokens(cells) // patch**2, 3 * patch**2)
    assert all(torch.equal(*pair) for pair in zip(bsq.bits_of_tokens(labels_BLE, cells, patch), bits, strict=True))
    x_BDhw = torch.arange(3 * 4 * 6).view(1, 3, 4, 6)
    token_BnE = bsq.patchify(x_BDhw, 2)
    for channel in range(3):
        for down in range(2):
            for right in range(2):
                # The second token of the second row.
                assert token_BnE[0, 4, channel * 4 + down * 2 + right] == x_BDhw[0, channel, 2 + down, 2 + right]


def test_the_raw_layout_is_the_same_memory_and_no_transpose() -> None:
    x_BDhw = torch.randn(2, 14, 4, 4)
    raw_BnD = bsq.to_raw(x_BDhw)
    assert raw_BnD.shape == (2, 16, 14)
    assert torch.equal(bsq.from_raw(raw_BnD, (4, 4)), x_BDhw)
    assert torch.equal(raw_BnD[0, 0], x_BDhw[0, 0].flatten()[:14]), "successive numbers of one channel"
    assert not torch.equal(raw_BnD, bsq.patchify(x_BDhw, 1))


def test_scales_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features of 8x12 cells do not end the scales \[\(1, 1\)\]"):
        bsq.encode_scales(features(), [(1, 1)])
    with pytest.raises(ValueError, match="0 flips and 5 predicted scales exceed 4 scales"):
        bsq.encode_scales(features(), GRIDS, prefix_BDhw=[features()] * 5)


def test_signs_do_not_depend_on_autocast() -> None:
    plain = bsq.encode_scales(features(), GRIDS)
    with torch.autocast("cpu", torch.bfloat16):
        cast = bsq.encode_scales(features(), GRIDS)
    assert all(torch.equal(*pair) for pair in zip(plain.bits_BDhw, cast.bits_BDhw, strict=True))
    assert cast.sums_BDHW[-1].dtype == torch.float32
    half = bsq.encode_scales(features().bfloat16(), GRIDS)
    assert half.sums_BDHW[-1].dtype == torch.float32
