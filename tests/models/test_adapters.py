"""Adapters: peft's own merge and the adapter in place as oracles, NF4's published values for the 4-bit matrices."""

import copy
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_pure.config.pure import AdapterConfig, BackboneConfig
from lit_pure.models.adapters import equivalent_parameters, insert_adapters, merged_state_dict, trainable_parameters
from lit_pure.models.cache import KVCache
from lit_pure.models.next_token import NextTokenBackbone

pytest.importorskip("peft")
pytest.importorskip("bitsandbytes")
from peft.tuners.lora import LoraLayer

from lit_pure.models import four_bits
from lit_pure.models.four_bits import FourBitLinear

SMALL = BackboneConfig(width=64, layers=2, heads=2, ffn=128, dropout=0.0)
ROWS = 50
# QLoRA (arXiv 2305.14314), appendix E.
NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip
every_kind = pytest.mark.parametrize("kind", ["lora", "qlora"])
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def plain(dtype: torch.dtype = torch.float32) -> NextTokenBackbone:
    torch.manual_seed(0)
    backbone = NextTokenBackbone(SMALL, ROWS)
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.15)  # norms away from one and zero
    return backbone.to(dtype)


def adapted(kind: Any, dtype: torch.dtype = torch.float32, seed: int = 3, **knobs: Any) -> NextTokenBackbone:
    backbone = plain(dtype)
    insert_adapters(backbone, AdapterConfig(kind=kind, rank=4, **knobs), seed)
    return backbone


def as_if_trained(backbone: NextTokenBackbone) -> NextTokenBackbone:
    """Adapters that change something: half of each starts as zeros."""
    for parameter in trainable_parameters(backbone):
        nn.init.normal_(parameter, std=0.1)
    return backbone


def ids() -> Tensor:
    return torch.randint(ROWS, (2, 11), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(backbone: NextTokenBackbone) -> Tensor:
    return backbone.logits(ids()).float()


@every_dtype
def test_at_the_start_lora_computes_exactly_what_the_backbone_did(dtype: torch.dtype) -> None:
    backbone = adapted("lora", dtype)
    assert torch.equal(logits(backbone), logits(plain(dtype)))
    assert not torch.equal(logits(as_if_trained(backbone)), logits(plain(dtype))), "they are in use"


def test_only_the_matrices_named_get_an_adapter() -> None:
    everything = adapted("lora")
    assert len(trainable_parameters(everything)) == SMALL.layers * 7 * 2
    few = adapted("lora", projections=["q", "down"])
    names = {name for name, item in few.named_parameters() if item.requires_grad}
    assert {name.split(".lora_")[0] for name in names} == {
        f"blocks.{layer}.{part}" for layer in range(2) for part in ("attention.q", "ffn.down")
    }


def test_adapters_come_from_their_seed_and_nothing_else_draws() -> None:
    before = torch.get_rng_state()
    backbone = plain()
    state = torch.get_rng_state()
    insert_adapters(backbone, AdapterConfig(kind="lora", rank=4), 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(before)
    other = adapted("lora", seed=4)
    first = [item for item in trainable_parameters(backbone) if item.any()]
    assert all(
        torch.equal(a, b)
        for a, b in zip(trainable_parameters(backbone), trainable_parameters(adapted("lora")), strict=True)
    )
    assert len(first) == SMALL.layers * 7, "the outer matrices start as zeros"
    assert not any(
        torch.equal(a, b) for a, b in zip(first, [x for x in trainable_parameters(other) if x.any()], strict=True)
    )


@every_kind
@every_dtype
def test_training_changes_adapters_alone_which_are_float32(kind: str, dtype: torch.dtype) -> None:
    backbone = adapted(kind, dtype)
    assert {item.dtype for item in trainable_parameters(backbone)} == {torch.float32}
    before = {name: item.detach().clone() for name, item in backbone.named_parameters()}
    optimizer = torch.optim.AdamW(trainable_parameters(backbone), lr=1e-2)
    losses = []
    for _ in range(12):
        ids_BT = ids()
        logits_BTV = backbone.logits(ids_BT[:, :-1]).float()
        loss = nn.functional.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for name, item in backbone.named_parameters():
        assert torch.equal(item, before[name]) == (not item.requires_grad), name


@every_kind
def test_the_merged_state_is_a_plain_backbones_and_computes_what_the_adapters_do(kind: str) -> None:
    backbone = as_if_trained(adapted(kind))
    merged, fresh = merged_state_dict(backbone), plain()
    assert list(fresh.state_dict()) == [name for name in fresh.state_dict() if name in merged]
    fresh.load_state_dict(merged, strict=True)
    # Rounding of float32 sums in another order; logits are up to 4.
    assert float((logits(fresh) - logits(backbone)).abs().max()) <= 2e-5
    assert float((logits(fresh) - logits(plain())).abs().max()) > 0.1


@every_dtype
def test_merged_adapters_are_those_that_peft_merges(dtype: torch.dtype) -> None:
    backbone = as_if_trained(adapted("lora", dtype))
    merged, theirs = merged_state_dict(backbone), copy.deepcopy(backbone)
    layers = {name: module for name, module in theirs.named_modules() if isinstance(module, LoraLayer)}
    for name, module in layers.items():
        module.merge()
        matrix: Any = module.get_base_layer()
        assert merged[f"{name}.weight"].dtype == dtype and torch.equal(merged[f"{name}.weight"], matrix.weight)
    assert len(layers) == SMALL.layers * 7


def test_merging_into_bfloat16_rounds_once() -> None:
    """The sum is taken in float32; the result keeps the numbers of the start, half a unit in the last place away."""
    backbone = as_if_trained(adapted("lora", torch.bfloat16))
    merged, layer = merged_state_dict(backbone), backbone.blocks[0].ffn.up
    exact = layer.base_layer.weight.double() + 8 * (
        layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    )
    error = (merged["blocks.0.ffn.up.weight"].double() - exact).detach().abs()
    assert bool((error <= exact.abs() * 2**-8 + 1e-6).all())  # 1e-6 where both parts all but cancel out


@every_kind
def test_a_backbone_cast_after_its_start_is_merged_to_one_dtype(kind: str) -> None:
    """As Lightning does with precision bf16-true; 4 bits remember what they were made from."""
    backbone = as_if_trained(adapted(kind, projections=["q", "up"])).bfloat16()
    merged, fresh = merged_state_dict(backbone), plain(torch.bfloat16)
    assert {item.dtype for item in merged.values()} == {torch.bfloat16}
    fresh.load_state_dict(merged, strict=True)
    assert float((logits(fresh) - logits(backbone)).abs().max()) <= 0.05 * float(logits(backbone).abs().max())


def test_a_gathered_state_is_merged_instead_of_the_backbones_own() -> None:
    backbone = as_if_trained(adapted("lora"))
    gathered = {name: item.detach().clone() for name, item in backbone.state_dict().items()}
    wanted = {name: item.clone() for name, item in merged_state_dict(backbone).items()}
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.zero_()
    merged = merged_state_dict(backbone, gathered)
    assert all(torch.equal(merged[name], item) for name, item in wanted.items()) and merged.keys() == wanted.keys()


def test_without_adapters_the_merged_state_is_the_backbone_s_own() -> None:
    backbone = plain()
    merged = merged_state_dict(backbone)
    assert all(merged[name].data_ptr() == item.data_ptr() for name, item in backbone.state_dict().items())
    assert merged.keys() == backbone.state_dict().keys() and len(trainable_parameters(backbone)) == len(merged)


@every_dtype
def test_four_bits_are_nf4_within_its_error(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    matrix = nn.Linear(64, 80, bias=False).to(dtype)
    nn.init.normal_(matrix.weight)
    rounded = FourBitLinear(matrix)
    found = rounded.dequantize()
    assert found.dtype == dtype and found.shape == (80, 64)
    blocks_N64, found_N64 = (item.detach().double().reshape(-1, 64) for item in (matrix.weight, found))
    scales_N1 = blocks_N64.abs().amax(1, keepdim=True)
    # Scales are kept in 8 bits of the span around their mean, which are at most 0.45 / 64 of it away from the truth.
    scale_error = float((scales_N1 - scales_N1.mean()).abs().max()) * 0.45 / 64
    rounding = 0 if dtype == torch.float32 else float(found_N64.abs().max()) * 2**-8
    half_gap = float(NF4.diff().max()) / 2
    assert float(((found_N64 - blocks_N64).abs() - half_gap * scales_N1).max()) <= scale_error + rounding + 1e-6
    nearest = (found_N64 / scales_N1)[..., None].sub(NF4.double()).abs().amin(-1)
    assert float(nearest.max()) <= (scale_error + rounding) / float(scales_N1.min()) + 1e-6, "16 values for each block"
    assert rounded.weight.nbytes == matrix.weight.numel() / 2


def test_matrices_whose_rows_are_no_whole_4_bit_blocks_are_refused() -> None:
    """bitsandbytes 0.50 gives other numbers back for them on a processor, without a word."""
    with pytest.raises(ValueError, match="rows of 48 weights .* multiple of 64"):
        FourBitLinear(nn.Linear(48, 80, bias=False))


def test_a_4_bit_layer_computes_what_its_dequantized_matrix_does(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    matrix = nn.Linear(64, 96, bias=False)
    rounded = FourBitLinear(matrix)
    x = torch.randn(5, 64, requires_grad=True)
    wanted = x @ rounded.dequantize().T
    assert torch.allclose(rounded(x), wanted, atol=1e-6)
    (gradient,) = torch.autograd.grad(rounded(x).pow(2).sum(), x)
    assert torch.allclose(gradient, torch.autograd.grad(wanted.pow(2).sum(), x)[0], atol=1e-5)
    # On processors with AVX512-BF16, bitsandbytes' own layer computes in bfloat16 here.
    seen = x.detach()
    with torch.inference_mode():
        assert torch.equal(rounded.eval()(seen), rounded.train()(seen))
        assert torch.allclose(rounded.eval()(seen), wanted, atol=1e-6)
    computed_in = []
    monkeypatch.setattr(four_bits, "matmul_4bit", lambda x, *_, **__: computed_in.append(x.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        rounded(x)
        assert computed_in == [matrix(x).dtype] == [torch.bfloat16]
    monkeypatch.undo()
    assert rounded(x.bfloat16()).dtype == torch.bfloat16 and rounded(x).dtype == torch.float32


def test_state_dicts_have_no_four_bit_matrices() -> None:
    backbone, other = as_if_trained(adapted("qlora")), adapted("qlora")
    state = backbone.state_dict()
    assert len(state) == len(plain().state_dict()) - SMALL.layers * 7 + SMALL.layers * 7 * 2
    other.load_state_dict(state, strict=True)
    assert torch.equal(logits(other), logits(backbone))


@every_kind
def test_an_adapted_backbone_fed_step_by_step_gives_what_one_pass_does(kind: str) -> None:
    backbone = as_if_trained(adapted(kind)).eval()
    ids_BT = ids()
    cache = KVCache.empty(SMALL, 2, 11, backbone.head.weight)
    found = []
    with torch.inference_mode():
        for step in range(11):
            found.append(backbone.feed(ids_BT[:, step : step + 1], [cache]))
            cache.commit(1, 1)
        assert float((torch.cat(found, 1) - backbone(ids_BT)).abs().max()) <= 2e-5


@every_kind
def test_flops_of_frozen_parameters_are_two_thirds_of_those_of_trained_ones(kind: str) -> None:
    whole, backbone = plain(), adapted(kind)
    adapters = sum(item.numel() for item in trainable_parameters(backbone))
    frozen = sum(item.numel() for item in whole.blocks.parameters())
    assert equivalent_parameters(whole.blocks) == frozen
    assert equivalent_parameters(backbone.blocks) == pytest.approx(frozen * 2 / 3 + adapters, abs=1)


@pytest.mark.parametrize(("kind", "package"), [("lora", "peft"), ("qlora", "bitsandbytes")])
def test_adapters_without_peft_or_bitsandbytes_name_what_installs_them(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "lit_pure.models.four_bits")
    with pytest.raises(ValueError, match=rf"adapter.kind={kind} .*{package}.*pip install 'lit_pure\[adapters\]'"):
        adapted(kind)
