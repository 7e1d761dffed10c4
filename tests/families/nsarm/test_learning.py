"""What the stages learn: which path labels follow, and where gradients go, also against finite differences."""

import math

import pytest
import torch
from torch import Tensor

from lit_pure.families.nsarm.learning import Learner, Words
from lit_pure.families.nsarm.prefix import PrefixMaker
from lit_pure.images.geometry import resize
from lit_pure.models import bsq
from lit_pure.models.bit_loss import bit_loss, token_weights
from tests.families.nsarm.small import batch, experiment, restorer

HQ = batch()["hq_B3HW"]
ENLARGED = resize(batch()["lq_B3hw"], 32, 32)


def learner(*settings: str) -> Learner:
    made, config = restorer(*settings), experiment(*settings)
    return Learner(made.network, made.prefix, config.losses, config.resize, config.flips.keep_gradient)


def words(made: Learner) -> Words:
    return Words(restorer().text(["A picture.", "A dark one."], torch.device("cpu")))


def stirred(made: Learner) -> Learner:
    """As after some steps: the last layers of a correction are no longer silent, and gates are open."""
    torch.manual_seed(3)
    for parameter in made.network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made


def test_pretraining_s_loss_is_that_of_the_clean_path() -> None:
    made = learner("stage=pretrain")
    loss, values = made.pretrain(HQ, words(made))
    cells, grids = made.schedule.cells, made.schedule.grids
    found = bsq.encode_scales(made.tokenizer.encode(HQ), cells)
    logits = made.network.transformer(
        bsq.inputs(found.sums_BDHW, cells, 1), words(made).text, grids, made.schedule.frame
    )  # type: ignore[misc]
    wanted = bit_loss(logits, bsq.labels(found.bits_BDhw, 1), token_weights(grids))
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6) == pytest.approx(values["ce"].item(), rel=1e-6)
    assert {f"bits_{scale}" for scale in range(1, 5)} < values.keys()


def test_flips_change_later_labels_and_inputs_but_not_those_of_their_scale() -> None:
    made = learner("stage=pretrain")
    flips = [torch.rand(2, 4, *grid) < 0.5 for grid in made.schedule.cells]
    _, clean = made.pretrain(HQ, words(made))
    _, flipped = made.pretrain(HQ, words(made), flips)
    assert flipped["ce_1"] == clean["ce_1"], "its label is taken before the flip, and nothing came before"
    assert flipped["ce_3"] != clean["ce_3"]


def test_stage_1_is_a_regression_of_the_residuals_of_the_hq_picture() -> None:
    made = stirred(learner("stage=stage1"))
    loss, values = made.stage1(HQ, ENLARGED)
    target = bsq.encode_scales(made.tokenizer.encode(HQ), made.schedule.cells).residuals_BDhw
    predicted = made.prefix(ENLARGED)
    errors = [(one - other).square().mean() for one, other in zip(predicted, target[:2], strict=True)]
    assert loss.item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-6)
    right = [((one > 0) == (other > 0)).float().flatten() for one, other in zip(predicted, target[:2], strict=True)]
    assert values["prefix_bits_2"].item() == pytest.approx(right[1].mean().item())
    assert values["prefix_bits"].item() == pytest.approx(torch.cat(right).mean().item())


def test_a_correction_begins_as_the_lq_picture_s_own_prefix() -> None:
    network, lq = learner("stage=stage2"), learner("stage=stage2", "prefix.source=lq")
    for one, other in zip(network.prefix(ENLARGED), lq.prefix(ENLARGED), strict=True):
        assert torch.equal(one, other)
    assert not any(one.requires_grad for one in lq.prefix(ENLARGED))


def test_consistency_is_an_extra_loss_of_stage_1() -> None:
    plain, consistent = (stirred(learner("stage=stage1", *more)) for more in ([], ["losses.consistency=2"]))
    loss, values = consistent.stage1(HQ, ENLARGED)
    expected = plain.stage1(HQ, ENLARGED)[0] + 2 * values["consistency"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6) and values["consistency"] > 0


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("predicts", ["correction", "residuals"])
def test_the_gradient_of_stage_2_reaches_every_branch_without_an_anchor(predicts: str, flips: bool) -> None:
    made = stirred(learner("stage=stage2", f"transformation.predicts={predicts}", "losses.anchor=0"))
    flipped = [torch.rand(2, 4, *grid) < 0.3 for grid in made.schedule.cells] if flips else []
    loss, _ = made.stage2(HQ, ENLARGED, words(made), flipped)
    loss.backward()  # type: ignore[no-untyped-call]
    branches = made.network.transformation.branches  # type: ignore[union-attr]
    for branch in branches:
        assert all(item.grad is not None and bool(item.grad.abs().sum() > 0) for item in branch.parameters())
    assert all(item.grad is not None for item in made.network.parameters())


def test_the_gradient_of_stage_2_is_that_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the function that straight-through estimation differentiates: signs held as they are, vectors normalised."""
    made = stirred(learner("stage=stage2", "losses.anchor=1", "losses.consistency=0.5"))
    made.network.double(), made.tokenizer.double()
    given = Words(type(words(made).text)(words(made).text.tokens_NW.double(), words(made).text.lengths))
    hq, enlarged = HQ.double(), ENLARGED.double()
    recorded: list[Tensor] = []
    units: list[Tensor] = []

    def record(z: Tensor) -> Tensor:
        units.append(torch.nn.functional.normalize(z.detach(), dim=1))
        recorded.append(bsq.codes(z > 0, z.dtype))
        return recorded[-1] + torch.nn.functional.normalize(z, dim=1) - units[-1]

    monkeypatch.setattr(bsq, "quantize", record)
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # where training wants float32 at least
    weights = [item for branch in made.network.transformation.branches for item in branch.head.parameters()]  # type: ignore[union-attr]
    loss, _ = made.stage2(hq, enlarged, given)
    found = torch.autograd.grad(loss, weights)
    codes, fixed = iter(()), iter(())

    def replay(z: Tensor) -> Tensor:
        """The same signs as before; what moves is the normalised vector."""
        return next(codes) + torch.nn.functional.normalize(z, dim=1) - next(fixed)

    monkeypatch.setattr(bsq, "quantize", replay)
    scales = len(made.schedule.cells)
    path = recorded[scales : 2 * scales]  # the LQ picture's own comes before it, the targets' after it
    labels = bsq.labels([code > 0 for code in path], 1)
    monkeypatch.setattr(bsq, "labels", lambda bits, patch: labels)

    @torch.no_grad()
    def value() -> float:
        nonlocal codes, fixed
        codes, fixed = iter(recorded), iter(units)
        return made.stage2(hq, enlarged, given)[0].item()

    assert value() == pytest.approx(loss.item(), rel=1e-12)
    generator = torch.Generator().manual_seed(0)
    for item, gradient in zip(weights, found, strict=True):
        direction = torch.randn(item.shape, generator=generator, dtype=item.dtype)
        step = 1e-5
        item.data += step * direction
        above = value()
        item.data -= 2 * step * direction
        below = value()
        item.data += step * direction
        assert (above - below) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-10)


def test_without_an_anchor_or_a_network_the_loss_is_the_cross_entropy_of_later_scales() -> None:
    made = learner("stage=stage2", "prefix.source=lq")
    loss, values = made.stage2(HQ, ENLARGED, words(made))
    assert loss.item() == values["later_ce"].item() and "anchor" not in values
    assert {"later_bits_3", "later_bits_4"} < values.keys() and "later_bits_2" not in values
    assert loss.item() == pytest.approx(math.log(2), abs=0.05), "untrained"


def test_a_prefix_of_another_length_than_the_network_has_branches_is_refused() -> None:
    made = restorer("stage=stage2")
    with pytest.raises(ValueError, match="set prefix.scales=2, or prefix.source=lq"):
        three = type(made.schedule)(**{**vars(made.schedule), "known": 3})
        PrefixMaker(made.tokenizer, made.network.transformation, experiment().prefix, three)
