"""The AR module: its loss against a plain one over whole sequences, words and codes apart."""

import pytest
import torch

from lit_pure.baselines.table import BASELINES
from lit_pure.config.data import DataConfig, PhotosConfig
from lit_pure.config.experiment import EvaluationConfig
from lit_pure.config.pure import BackboneConfig, PureExperiment, SamplingConfig, SequenceConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import IGNORE, Assembler
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.families.pure.sequence.template import degradation_sentence
from lit_pure.images.geometry import resize
from lit_pure.lit.data import Batch
from lit_pure.lit.pure import ARModule
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer

VOCABULARY = make_vocabulary(["Medium blur, small noise. A bright picture."] * 5, codes=40, words=300)


def restorer(codes: int = 40, size: int = 32) -> Restorer:
    torch.manual_seed(0)
    vq = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=codes)
    tokenizer = VQTokenizer(vq).requires_grad_(False).eval()
    backbone = NextTokenBackbone(BackboneConfig(width=32, layers=1, heads=2, ffn=32, loss_chunk=7), VOCABULARY.size)
    return Restorer(tokenizer, backbone, Assembler(VOCABULARY, "full", 8, 20), SamplingConfig(), size=size, scale=4)


def module(condition_dropout: float = 0.0) -> ARModule:
    made = ARModule(PureExperiment(sequence=SequenceConfig(condition_dropout=condition_dropout)), restorer())
    made.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    return made.eval()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    return {
        "hq_B3HW": torch.rand(2, 3, 32, 32, generator=generator),
        "lq_B3hw": torch.rand(2, 3, 8, 8, generator=generator),
        "caption": ["A bright picture.", "A picture of small noise."],
        "name": ["a", "b"],
        "epoch": torch.tensor([0, 0]),
        "index": torch.tensor([0, 1]),
        "labels": [("large", "small"), ("medium", "large")],
    }


def test_provenance_says_what_computes_attention_and_refuses_what_cannot() -> None:
    made = module()
    assert made.computing(torch.device("cpu")) == {"attention": "sdpa"}
    assert made.restorer.computing()["attention"] == "sdpa"
    made.backbone.config.attention = "flash"
    with pytest.raises(ValueError, match=r"backbone\.attention = flash: .* CUDA device, not cpu"):
        made.computing(torch.device("cpu"))


@torch.no_grad()
def test_the_loss_is_the_mean_cross_entropy_of_all_answer_tokens() -> None:
    made = module()
    samples = made.samples(batch())
    losses, words, codes = [], [], []
    for sample in samples:
        ids, labels = made.restorer.assembler.assemble(sample)
        logits = made.backbone.logits(ids[None, :-1])[0]
        each = torch.nn.functional.cross_entropy(logits, labels[1:], ignore_index=IGNORE, reduction="none")
        keep = labels[1:] != IGNORE
        losses.append(each[keep])
        words.append(each[keep & VOCABULARY.text_V[labels[1:].clamp(min=0)]])
        codes.append(each[keep & (VOCABULARY.id_codes_V[labels[1:].clamp(min=0)] >= 0)])
    loss, found_23B, present = made._loss(batch(), [False, False])
    assert present == [True, True, True]
    assert float(loss) == pytest.approx(float(torch.cat(losses).mean()), abs=1e-5)
    for kind, expected in enumerate((losses, words, codes)):
        assert float(found_23B[0, kind].sum()) == pytest.approx(float(torch.cat(expected).sum()), rel=1e-5)
        assert int(found_23B[1, kind].sum()) == len(torch.cat(expected))
    assert found_23B[:, 0, 1].tolist() == pytest.approx([float(losses[1].sum()), len(losses[1])], rel=1e-5)
    assert len(torch.cat(codes)) == 2 * 16


def test_samples_hold_what_the_batch_says() -> None:
    made = module()
    first, second = made.samples(batch())
    assert (first.blur, first.noise, second.caption) == ("large", "small", "A picture of small noise.")
    assert torch.equal(second.hq_codes_hw, made.restorer.tokenizer.encode(batch()["hq_B3HW"])[1])


def first_loss(made: ARModule, batch: Batch) -> float:
    return made.training_step(batch, 0).item()


def test_a_step_tells_how_many_tokens_it_read_and_what_that_took() -> None:
    made = module()
    lengths = [len(made.restorer.assembler.assemble(sample)[0]) for sample in made.samples(batch())]
    assert lengths[0] != lengths[1]
    made.training_step(batch(), 0)
    read = sorted(lengths)[0] + sorted(lengths)[1] - 1  # of the longest, nothing follows the last
    assert (made.work.images, made.work.tokens) == (2, read)
    blocks = sum(item.numel() for item in made.backbone.blocks.parameters())
    assert made.work.flops > 6 * blocks * read


def test_without_condition_the_prompt_does_not_matter() -> None:
    changed = batch()
    changed["lq_B3hw"] = 1 - changed["lq_B3hw"]
    changed["caption"] = ["A cat.", "A dog."]
    alone, conditioned = module(condition_dropout=1.0), module(condition_dropout=0.0)
    assert first_loss(alone, batch()) == first_loss(alone, changed)
    assert first_loss(conditioned, batch()) != first_loss(conditioned, changed)


def test_the_frozen_tokenizer_is_no_part_of_the_module() -> None:
    names = [name for name, _ in module().named_modules()]
    assert not any("tokenizer" in name or "restorer" in name or "scores" in name for name in names)
    assert len(list(module().parameters())) == len(list(module().backbone.parameters()))


def test_a_tokenizer_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="the tokenizer has 41 codes and the vocabulary 40"):
        restorer(codes=41)


@pytest.mark.parametrize("ratio", [4, 2])
@pytest.mark.parametrize("hq", [True, False])
@torch.no_grad()
def test_given_lq_of_any_ratio_is_restored_and_scored_by_what_there_is(ratio: int, hq: bool) -> None:
    data = DataConfig(size=96, test={"real": PhotosConfig(source="hq" if hq else "", lq="lq")})
    made = ARModule(PureExperiment(data=data), restorer(size=96))
    made.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    given = batch()
    given["lq_B3hw"] = torch.rand(2, 3, 96 // ratio, 96 // ratio, generator=torch.Generator().manual_seed(2))
    given["unreadable"] = ["", ""]
    given["hq_B3HW"] = resize(given["lq_B3hw"], 96, 96).clamp(0.1, 0.9)
    if not hq:
        del given["hq_B3HW"]
    made.test_step(given, 0)
    scores = {key: float(value) for key, value in made.scores.compute().items()}
    metrics = ("psnr", "ssim", "niqe") if hq else ("niqe",)
    assert set(scores) == {f"test/real/{method}{metric}" for method in ("", "bicubic_") for metric in metrics}
    assert not hq or scores["test/real/bicubic_psnr"] > 20 > scores["test/real/psnr"]
    assert list(made.shown) == ["LQ", "bicubic", "restored", *(["ground truth"] if hq else [])]
    assert {tuple(shown.shape) for shown in made.shown.values()} == {(2, 3, 96, 96)}
    assert torch.equal(made.shown["bicubic"], resize(given["lq_B3hw"], 96, 96))
    assert [answer["degradation (DEM)"] for answer in made.answers] == [
        degradation_sentence("large", "small"),
        degradation_sentence("medium", "large"),
    ]


@torch.no_grad()
def test_baselines_are_measured_beside_bicubic() -> None:
    if missing := BASELINES["realesr-animevideov3"].missing:
        pytest.skip(f"{missing} not installed")
    data = DataConfig(size=96, test={"real": PhotosConfig(source="hq", lq="lq")})
    evaluation = EvaluationConfig(metrics=["psnr"], baselines=["realesr-animevideov3", "bicubic"])
    made = ARModule(PureExperiment(data=data, evaluation=evaluation), restorer(size=96))
    made.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    given = batch()
    given["lq_B3hw"] = torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(2)).repeat_interleave(8, 2)
    given["lq_B3hw"] = given["lq_B3hw"].repeat_interleave(8, 3)
    given["hq_B3HW"] = given["lq_B3hw"].repeat_interleave(4, 2).repeat_interleave(4, 3)
    made.test_step(given, 0)
    scores = {key: float(value) for key, value in made.scores.compute().items()}
    assert list(made.shown) == ["LQ", "bicubic", "realesr-animevideov3", "restored", "ground truth"]
    assert set(scores) == {f"test/real/{name}psnr" for name in ("", "bicubic_", "realesr-animevideov3_")}
    assert scores["test/real/realesr-animevideov3_psnr"] > 20 > scores["test/real/psnr"]
    made.restore_and_show(given, 1)
    assert list(made.shown) == ["LQ", "bicubic", "restored", "ground truth"], "a validation need not wait for others"
