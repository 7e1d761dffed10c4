"""Decoding in bfloat16 and with 8-bit weights: cheaper numbers, nearly the same model."""

import copy

import pytest
import torch

from lit_pure.config.pure import SamplingConfig
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.precision import prepare
from tests.families.pure.sampling.answers import VOCABULARY, answer, make_backbone


@pytest.fixture(scope="module")
def backbone() -> NextTokenBackbone:
    return make_backbone()


def logits(backbone: NextTokenBackbone) -> torch.Tensor:
    ids = torch.arange(20)[None] % VOCABULARY.size
    with torch.no_grad():
        return backbone.logits(ids).float()


def test_a_backbone_without_a_precision_asked_for_is_left_alone(backbone: NextTokenBackbone) -> None:
    before = copy.deepcopy(backbone.state_dict())
    after = prepare(backbone, SamplingConfig()).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_a_backbone_in_bfloat16_decodes(backbone: NextTokenBackbone, engine: str) -> None:
    half = prepare(copy.deepcopy(backbone), SamplingConfig(dtype="bfloat16"))
    assert {item.dtype for item in half.parameters()} == {torch.bfloat16}
    assert float((logits(half) - logits(backbone)).abs().mean()) < 0.05 * float(logits(backbone).std())
    decoded = answer(half, "full", SamplingConfig(engine=engine, max_text=5), [0, 1])
    assert decoded.entropy_Bhw.dtype == torch.float32 and bool(decoded.entropy_Bhw.isfinite().all())


@pytest.mark.parametrize("quantize", ["int8", "fp8"])
def test_8_bit_weights_are_nearly_the_same_model(backbone: NextTokenBackbone, quantize: str) -> None:
    pytest.importorskip("torchao")
    half = prepare(copy.deepcopy(backbone), SamplingConfig(dtype="bfloat16"))
    small = prepare(copy.deepcopy(half), SamplingConfig(quantize=quantize))
    weight = small.blocks[0].ffn.up.weight
    assert type(weight) is not torch.nn.Parameter and torch.equal(small.head.weight, half.head.weight)
    difference = logits(small) - logits(half)
    assert 0 < float(difference.abs().mean()) < 0.2 * float(logits(half).std())
    decoded = answer(small, "perception", SamplingConfig(max_text=5), [0, 1, 2])
    assert bool(decoded.entropy_Bhw.isfinite().all())


def test_8_bit_weights_without_torchao_name_what_installs_it(
    backbone: NextTokenBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchao.quantization", None)
    with pytest.raises(ValueError, match="needs torchao .* pip install torchao"):
        prepare(backbone, SamplingConfig(quantize="int8"))
