"""The bitwise tokenizer's module: its losses by their definition, scales that are left out, a start."""

from dataclasses import replace

import pytest
import torch

from lit_pure.config.bit_tokenizer import BitTokenizerExperiment
from lit_pure.datasets.order import SCALE_DRAW
from lit_pure.lit.autoencoder import psnr
from lit_pure.lit.bit_tokenizer import BitTokenizerModule
from lit_pure.lit.data import torch_generators
from lit_pure.models.bsq import draw_kept
from tests.families.nsarm.small import SIZES, batch


def module(**changes: float) -> BitTokenizerModule:
    torch.manual_seed(0)
    made = BitTokenizerModule(BitTokenizerExperiment(bsq=replace(SIZES, **changes)))
    made.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    return made


def test_the_loss_has_the_weights_of_the_config() -> None:
    made = module(l1_weight=0.5, l2_weight=2.0, commit_weight=0.25)
    found, loss, parts = made._losses(batch(), training=True)
    hq = batch()["hq_B3HW"]
    rebuilt, quantized = made.tokenizer(hq, made.tokenizer.grids(32, 32))
    error = 2 * rebuilt - 2 * hq
    expected = 0.5 * error.abs().mean() + 2 * error.pow(2).mean() + 0.25 * quantized.commit_loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert parts["commit"].item() == pytest.approx(quantized.commit_loss.item(), rel=1e-5)
    assert torch.equal(found.image_B3HW, rebuilt) and found.codes_Bhw is None


def test_scales_are_left_out_in_training_alone_and_as_the_samples_say() -> None:
    made, hq = module(scale_dropout=0.5), batch()["hq_B3HW"]
    grids = made.tokenizer.grids(32, 32)
    kept = torch.cat([draw_kept(1, len(grids), 0.5, rng) for rng in torch_generators(0, batch(), SCALE_DRAW)])
    found, *_ = made._losses(batch(), training=True)
    assert torch.equal(found.image_B3HW, made.tokenizer(hq, grids, kept)[0]) and not bool(kept.all())
    found, *_ = made._losses(batch(), training=False)
    assert torch.equal(found.image_B3HW, made.tokenizer(hq, grids)[0])


def test_a_validation_shows_what_the_bits_alone_hold() -> None:
    made, hq = module(), batch()["hq_B3HW"]
    with torch.no_grad():
        made.validation_step(batch(), 0)
    grids = made.tokenizer.grids(32, 32)
    bits = made.tokenizer.bits(made.tokenizer.encode(hq), grids)
    assert torch.equal(made.shown["reconstructed"], made.tokenizer.decode_bits(bits, grids[-1]))
    assert torch.equal(made.shown["ground truth"], hq)


def test_a_start_gives_its_weights_or_is_refused() -> None:
    first, second = module(), module()
    with torch.no_grad():
        next(first.tokenizer.parameters()).add_(1)
    started = BitTokenizerModule(second.config, first.tokenizer)
    assert all(
        torch.equal(one, other)
        for one, other in zip(started.tokenizer.parameters(), first.tokenizer.parameters(), strict=True)
    )
    with pytest.raises(ValueError, match="needs.start has another .*; take its bsq sizes, or another start"):
        BitTokenizerModule(BitTokenizerExperiment(bsq=replace(SIZES, bits=6)), first.tokenizer)


def test_psnr() -> None:
    black = torch.zeros(2, 3, 4, 4)
    assert psnr(black + 0.1, black).tolist() == pytest.approx([20.0, 20.0], abs=1e-4)
    assert psnr(black, black).tolist() == [100.0, 100.0]
