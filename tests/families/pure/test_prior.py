"""A learned prior towards the LQ picture's codes, in training and in both engines; and codes that nobody draws."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lit_pure.config.experiment import RestoringConfig
from lit_pure.config.pure import BackboneConfig, PureExperiment, SamplingConfig
from lit_pure.config.tokenizer import PhotoDecoderConfig, VQConfig
from lit_pure.families.pure.given_codes import GivenCodes, given_codes
from lit_pure.families.pure.prior import LQPrior
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import IGNORE, Assembler, Sample
from lit_pure.images.geometry import resize
from lit_pure.images.io import to_bytes
from lit_pure.images.tiles import Tile
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer
from tests.families.pure.test_restorer import VOCABULARY, texture

SEES = PhotoDecoderConfig(channels=[8, 8, 8, 8], blocks=[1, 0, 0, 0], photo_channels=[8], photo_blocks=0)


def make(weight: float, decoder: PhotoDecoderConfig | None = None, follows: bool = False) -> Restorer:
    torch.manual_seed(0)
    vq = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=40)
    vq = replace(vq, decoder=decoder or PhotoDecoderConfig())
    config = BackboneConfig(width=32, layers=1, heads=2, ffn=32, lq_prior=weight, lq_prior_follows=follows)
    backbone = NextTokenBackbone(config, VOCABULARY.size)
    if backbone.head.prior_slope_D is not None:
        torch.nn.init.normal_(backbone.head.prior_slope_D)
    assembler = Assembler(VOCABULARY, "perception", 8, 20)
    frozen = VQTokenizer(vq).requires_grad_(False).eval()
    return Restorer(frozen, backbone.double().eval(), assembler, SamplingConfig(max_text=5), 64, 4)


def squares(count: int) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_both_engines_draw_the_same_and_a_strong_prior_draws_the_lq_codes(guidance: float) -> None:
    drawn = []
    for weight in (2.0, 1e4):
        restorer = make(weight)
        lq_Bhw = restorer.tokenizer.encode(squares(3))
        for engine in ("plain", "jacobi"):
            restorer.sampling = SamplingConfig(max_text=5, engine=engine, guidance=guidance)  # type: ignore[arg-type]
            drawn.append(restorer.answer(lq_Bhw, ["a", "b", "c"]).codes_Bhw)
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[2], drawn[3])
    assert torch.equal(drawn[2], lq_Bhw) and not torch.equal(drawn[0], lq_Bhw)


@pytest.mark.parametrize("follows", [False, True])
def test_sampling_adds_to_the_logits_what_training_adds(follows: bool) -> None:
    """The logits of every cell, by one full pass over the sequence with the prior of the training."""
    restorer = make(3.0, follows=follows)
    lq_Bhw = restorer.tokenizer.encode(squares(1))
    restorer.sampling = SamplingConfig(guidance=1.0, max_text=5)
    from lit_pure.families.pure.sampling.decode import decode
    from lit_pure.families.pure.sampling.grammar import Grammar

    own, backbone = restorer.assembler, restorer.backbone
    found = decode(
        backbone, [own.prompt(lq_Bhw[0])], Grammar.of(own, 8, 8), restorer.sampling, [5], lq_Bhw, keep_logits=True,
        texts=[[]], prior=restorer.prior,
    )  # fmt: skip
    sample = Sample(lq_Bhw[0], found.codes_Bhw[0])
    silent = Assembler(VOCABULARY, "none", 8, 20)  # writes no text before the picture
    prompt = own.prompt(lq_Bhw[0])
    ids_BT, labels_BT = silent.batch([sample], [False])
    answer_S = labels_BT[0][labels_BT[0] != IGNORE]
    whole_1T = torch.cat([prompt, answer_S])[None]
    hidden_SD = backbone(whole_1T)[0, len(prompt) - 1 : -1]
    is_code_S = own.vocabulary.id_codes_V[answer_S] >= 0
    assert restorer.prior is not None and backbone.head.prior_1 is not None
    prior = restorer.prior.expect([sample], is_code_S)
    weight_S1 = backbone.head.prior_weight(hidden_SD)
    wanted_SV = backbone.head(hidden_SD) + weight_S1 * (prior.expected_NC @ prior.vectors_VC.T)
    assert found.logits_BhwN is not None
    codes = own.vocabulary.code_ids_N
    torch.testing.assert_close(found.logits_BhwN.flatten(0, 2), wanted_SV[is_code_S][:, codes], rtol=1e-4, atol=1e-5)
    assert len(ids_BT[0]) > 0


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_the_knob_of_sampling_adds_to_the_learned_weight(engine: str) -> None:
    drawn = []
    for weight, more in ((5.0, 0.0), (2.0, 3.0), (2.0, 0.0)):
        restorer = make(weight)
        restorer.sampling = SamplingConfig(max_text=5, engine=engine, prior=more)  # type: ignore[arg-type]
        drawn.append(restorer.answer(restorer.tokenizer.encode(squares(2)), ["a", "b"]).codes_Bhw)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_the_knob_of_sampling_needs_a_prior() -> None:
    restorer = make(0.0)
    with pytest.raises(ValueError, match=r"sampling.prior = 3 adds to the weight of the backbone's prior"):
        Restorer(restorer.tokenizer, restorer.backbone, restorer.assembler, SamplingConfig(prior=3), 64, 4)
    found = dict(PureExperiment(sampling=SamplingConfig(prior=3)).problems())
    assert "backbone.lq_prior" in found["sampling.prior"]
    assert "sampling.prior" not in SamplingConfig().identity() and SamplingConfig(prior=3).identity()["prior"] == 3


def test_what_is_expected_of_a_label_is_the_lq_code_of_its_cell() -> None:
    restorer = make(1.0)
    samples = [
        Sample(torch.tensor([[3, 4]]), torch.tensor([[5, 6]])),
        Sample(torch.tensor([[7, 8]]), torch.tensor([[9, 1]])),
    ]
    image_N = torch.tensor([False, True, True, False, True, True, False])
    prior = LQPrior(restorer.tokenizer, VOCABULARY).expect(samples, image_N)
    assert torch.equal(prior.expected_NC[image_N], restorer.tokenizer.lookup(torch.tensor([3, 4, 7, 8])))
    assert float(prior.expected_NC[~image_N].abs().sum()) == 0
    rows = prior.vectors_VC.norm(dim=-1)
    assert torch.allclose(rows[VOCABULARY.code_ids_N], torch.ones(40)) and float(rows.sum()) == pytest.approx(
        40, rel=1e-5
    )


@pytest.mark.parametrize("tiles", ["blend", "continue"])
def test_with_the_lq_codes_the_decoder_restores_alone(tiles: str) -> None:
    restorer = make(0.0, SEES)
    restorer.sampling = SamplingConfig(codes="lq")
    restorer.restoring = RestoringConfig(tiles=tiles, fidelity=1.0)  # type: ignore[arg-type]
    restorer.backbone.forward = restorer.backbone.feed = None  # type: ignore[assignment, method-assign]
    photo_3hw = texture(16, 16)
    made = restorer.restore_photo(photo_3hw, "a")
    enlarged = resize(photo_3hw[None], 64, 64)
    wanted = restorer.tokenizer.decode(restorer.tokenizer.encode(enlarged), enlarged, 1.0)
    assert (made.pixels_3HW.int() - to_bytes(wanted[0]).int()).abs().max() <= 1
    assert made.tokens == 0 and made.words["caption"] in (None, "")


def test_given_codes_are_those_of_the_true_picture_and_nothing_is_drawn() -> None:
    restorer = make(0.0)
    hq = to_bytes(texture(100, 70))
    codes = given_codes(restorer.tokenizer, 64, hq)
    padded = torch.nn.functional.pad(hq[None].float() / 255, (0, 64, 0, 64), mode="replicate")[0]
    assert torch.equal(
        codes(Tile(0, 0, 0, 40, 16)).codes_hw, restorer.tokenizer.encode(padded[None, :, 40:104, 16:80])[0]
    )
    known = GivenCodes(torch.arange(64).reshape(8, 8) % 40)
    decoded = restorer.answer(torch.zeros(1, 8, 8, dtype=torch.long), ["a"], given=[known])
    assert torch.equal(decoded.codes_Bhw[0], known.codes_hw) and decoded.tokens == decoded.passes == 0


def test_fidelity_needs_a_decoder_that_sees() -> None:
    restorer = make(0.0)
    with pytest.raises(ValueError, match=r"restoring.fidelity = 0.5 needs a tokenizer whose decoder sees"):
        Restorer(
            restorer.tokenizer, restorer.backbone, restorer.assembler, SamplingConfig(), 64, 4,
            RestoringConfig(fidelity=0.5),
        )  # fmt: skip
