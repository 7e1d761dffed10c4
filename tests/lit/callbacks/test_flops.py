"""The formula for a transformer's FLOP, against torch's own counter on ours."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lit_pure.config.pure import BackboneConfig
from lit_pure.lit.callbacks.flops import peak_of, transformer_training
from lit_pure.models.losses import linear_cross_entropy
from lit_pure.models.next_token import NextTokenBackbone
from tests.lit.callbacks.foreign import trainer


@pytest.mark.parametrize(("rows", "length"), [(1, 64), (2, 512), (3, 200)])
def test_training_flops_by_formula_are_what_torch_counts(rows: int, length: int) -> None:
    torch.manual_seed(0)
    backbone = NextTokenBackbone(BackboneConfig(width=128, layers=3, heads=4, ffn=344, dropout=0.0), 500)
    ids, labels = torch.randint(500, (rows, length)), rows * length // 2
    # Torch has no formula for the fused attention of CPUs; the plain one is matrix products, which it counts.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        hidden = backbone(ids).flatten(0, 1)[:labels]
        weight = torch.full((labels,), 1 / labels)
        loss, _ = linear_cross_entropy(hidden, backbone.head.weight, torch.randint(500, (labels,)), weight, 64)
        loss.backward()  # type: ignore[no-untyped-call]
    blocks = sum(item.numel() for item in backbone.blocks.parameters())
    head = backbone.head.weight.numel()
    told = transformer_training(blocks, [length] * rows, layers=3, width=128, head_parameters=head, labels=labels)
    assert told == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_attention_flops_are_counted_within_each_row() -> None:
    assert transformer_training(10, [3, 5], 2, 4) == (3 + 5) * 60 + 12 * 2 * 4 * (9 + 25)


def test_the_peak_flops_of_a_cpu_are_unknown(tmp_path: Any) -> None:
    for precision in ("32-true", "bf16-mixed", "16-true", "64-true"):
        assert peak_of(trainer(tmp_path, [], precision=precision)) == 0


@pytest.mark.parametrize(("precision", "peak"), [("32-true", 19.5e12), ("bf16-mixed", 312e12), ("16-true", 312e12)])
def test_the_peak_flops_of_an_a100_are_those_of_its_data_sheet(
    precision: str, peak: float, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's data sheet of the A100: 19.5 TFLOP/s in float32, 312 with 16 bits on tensor cores, dense."""
    house = trainer(tmp_path, [], precision=precision)
    monkeypatch.setattr(type(house.strategy), "root_device", torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr("lightning.fabric.accelerators.cuda._is_ampere_or_later", lambda: True)
    assert peak_of(house) == peak


def test_the_peak_flops_of_an_h200_are_dense_and_those_of_other_precisions_unknown(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's data sheet of the H200: 1,979 TFLOP/s in bfloat16 with sparsity, so half of that without."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    for precision, peak in (("bf16-mixed", 989e12), ("32-true", 0)):
        house = trainer(tmp_path, [], precision=precision)
        monkeypatch.setattr(type(house.strategy), "root_device", torch.device("cuda", 0))
        assert peak_of(house) == peak
