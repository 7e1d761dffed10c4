"""The memory of NSARM's training: tensors of the real modules, what their blocks save, real steps, and the command.

What blocks save is measured on tensors that have a CUDA device but no memory, at the published size; steps on a CPU at
nano size. Tolerances are those reached.
"""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.bench.memory import LiveBytes
from lit_pure.config.bit_tokenizer import BitTokenizerConfig, nano, published
from lit_pure.config.compose import compose
from lit_pure.config.next_scale import NextScaleConfig, next_scale_size
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.config.text_encoder import TextEncoderConfig
from lit_pure.config.training import TrainerConfig
from lit_pure.config.transformation import transformation_size
from lit_pure.families.nsarm.plan import T5_XL, measure
from lit_pure.lit.distributed.sharding import prepare
from lit_pure.lit.schedule import configure
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.next_scale import NextScaleTransformer
from lit_pure.models.next_scale_blocks import Conditions, ScaleBlock
from lit_pure.models.packed_text import PackedText
from lit_pure.models.transformation import make_transformation
from lit_pure.planning.plan import DECODING
from lit_pure.planning.scale_memory import ScaleMemory, saved_by_block
from lit_pure.planning.scales import (
    ScaleSetting,
    block_tensors,
    outer_tensors,
    tokenizer_weights,
    transformation_tensors,
)
from lit_pure.planning.weights import numel
from tests.planning.test_measured import on_cuda

PUBLISHED = {"8b": 8_375_791_824, "2b": 2_204_564_032}


def shapes(module: torch.nn.Module) -> Counter[tuple[int, ...]]:
    return Counter(tuple(item.shape) for item in module.parameters())


@pytest.mark.parametrize("size", ["8b", "2b", "nano"])
def test_tensors_of_the_transformer_are_those_of_the_module(size: str) -> None:
    config = next_scale_size(size)
    with torch.device("meta"):
        expected = shapes(NextScaleTransformer(config))
    found: Counter[tuple[int, ...]] = Counter(outer_tensors(config))
    for shape, times in block_tensors(config).items():
        found[shape] += times * config.layers
    assert found == expected
    assert numel(found) == PUBLISHED.get(size, numel(found))


@pytest.mark.parametrize("size", ["published", "spatial", "nano"])
@pytest.mark.parametrize("predicts", ["residuals", "correction"])
def test_tensors_of_the_transformation_network_are_those_of_the_module(size: str, predicts: str) -> None:
    config = replace(transformation_size(size), predicts=predicts)
    if size == "published" and predicts == "correction":
        pytest.skip("the published network corrects nothing")
    with torch.device("meta"):
        expected = shapes(make_transformation(config, 14))
    found = transformation_tensors(config, 14)
    assert found == expected
    assert size != "published" or numel(found) == 385_103_600


@pytest.mark.parametrize("config", [published("d14"), published("d32"), nano()])
def test_weights_of_the_tokenizer_are_those_of_the_module(config: BitTokenizerConfig) -> None:
    with torch.device("meta"):
        assert tokenizer_weights(config) == sum(item.numel() for item in BitTokenizer(config).parameters())


def test_weights_of_the_text_encoder_are_those_of_its_configuration() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.T5Config(
        vocab_size=32128, d_model=2048, d_kv=64, d_ff=5120, num_layers=24, num_heads=32, feed_forward_proj="gated-gelu"
    )
    with torch.device("meta"):
        encoder = transformers.T5EncoderModel(config)
    assert T5_XL == sum(item.numel() for item in encoder.parameters())
    assert TextEncoderConfig().model.endswith("flan-t5-xl")


def setting(name: str, *overrides: str, gpus: int = 1) -> ScaleSetting:
    experiment = compose(name, overrides)
    assert isinstance(experiment, NSARMExperiment)
    return measure(experiment, gpus)


@pytest.mark.parametrize(
    ("precision", "strategy"), [("32-true", "auto"), ("bf16-mixed", "auto"), ("bf16-mixed", "fsdp")]
)
@pytest.mark.parametrize("drop_path", [0.0, 0.1])
def test_a_block_of_the_published_size_saves_what_was_planned(
    precision: str, strategy: str, drop_path: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without masks, weights and the caption's keys and values."""
    length, config = 10_521, next_scale_size("8b")
    config = replace(config, drop_path=drop_path)
    wanted = setting("nsarm/8b/stage2", f"trainer.precision={precision}", f"trainer.strategy={strategy}")
    narrow = wanted.itemsizes.stream == 2
    kept: list[Tensor] = []
    sizes: dict[int, int] = {}

    def keep(part: Tensor) -> Tensor:
        storage = part.untyped_storage()
        sizes[storage._cdata] = storage.nbytes()
        kept.append(part)
        return part

    with on_cuda(wanted.itemsizes.cast, monkeypatch), monkeypatch.context() as patch:
        patch.setattr("lit_pure.models.next_scale_blocks.F.scaled_dot_product_attention", attention)
        dtype = torch.bfloat16 if narrow else torch.float32
        torch.set_default_dtype(dtype)
        try:
            block = ScaleBlock(config, drop_path)
        finally:
            torch.set_default_dtype(torch.float32)
        x_1LD = torch.empty(1, length, config.width, dtype=dtype, requires_grad=True)
        shared = conditions(config, length, dtype)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda part: part):
            block.compute(x_1LD, shared)
        for item in (*block.parameters(), *shared.angles, shared.text_BTD, shared.ada_B6D):
            sizes.pop(item.untyped_storage()._cdata, None)
        copies = 2 * numel({s: n for s, n in block_tensors(config).items() if len(s) > 1 and s[0] > 6})
    found = sum(sizes.values()) - (copies if wanted.itemsizes.cast and not narrow else 0)
    assert saved_by_block(wanted, config) * length == pytest.approx(found, rel=0.02)


def attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """What a CUDA device would choose; autocast casts what it reads."""
    assert attn_mask is None
    if torch.is_autocast_enabled("cuda"):
        q, k, v = (part.to(torch.bfloat16) for part in (q, k, v))
    if q.dtype == torch.float32:
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        mixed: Tensor = efficient(q, k, v, None, True, 0.0, False, scale=scale)[0]
        return mixed
    mixed = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, scale=scale)[0]
    return mixed


def conditions(config: NextScaleConfig, length: int, dtype: torch.dtype) -> Conditions:
    half = config.width // config.heads // 2
    angles = (torch.empty(length, half), torch.empty(length, half))
    text_BTD = torch.empty(1, 4, config.width, dtype=dtype, requires_grad=True)
    return Conditions(torch.empty(1, 6, config.width, dtype=dtype, requires_grad=True), angles, text_BTD, None, None)


@pytest.mark.parametrize("how", ["none", "block", "selective"])
def test_a_step_takes_what_was_planned(how: str) -> None:
    """Pre-training of nano in float32, without tokenizer and pictures. Planned is up to 20 % more where activations are
    computed again: all gradients are counted at each moment."""
    wanted = setting("nsarm/nano/pretrain", f"trainer.activation_checkpointing={how}", "data.batch_size=4")
    moments = ScaleMemory(wanted).moments
    planned = max(
        sum(parts.values()) - parts["tokenizer and text encoder"]
        for name, parts in moments.items()
        if name not in (*DECODING, "pictures")
    )
    assert 0.85 < planned / measured(wanted) < 1.25


def measured(wanted: ScaleSetting) -> int:
    """The height of two training steps."""
    config = wanted.transformer
    assert config is not None
    with LiveBytes() as live:
        transformer = NextScaleTransformer(config)
        transformer.units = lambda: []  # type: ignore[assignment]
        prepare(transformer, TrainerConfig(activation_checkpointing=wanted.trainer.activation_checkpointing), None)  # type: ignore[arg-type]
        optimizer = configure(transformer.parameters(), wanted.optim, 10)["optimizer"]
        text = PackedText.of([torch.randn(8, config.text_width)] * wanted.batch)
        inputs_BMb = torch.randn(wanted.batch, wanted.length - 1, config.bits)
        for _ in range(2):
            logits_BLb2 = transformer(inputs_BMb, text, wanted.grids, (32, 32))
            loss = torch.nn.functional.cross_entropy(
                logits_BLb2.flatten(0, 2), torch.randint(2, (logits_BLb2[..., 0].numel(),))
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return live.peak


def test_nsarm_8b_fits_on_its_own_machines(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    """4 nodes x 8 GPUs x 2 pictures, as the name of the published checkpoint reads."""
    file = tmp_path / "plan.json"
    code = main(["plan", "nsarm/8b", "--gpus", "32", "--gpu-memory", "80", "--json", str(file)])
    told, found = capsys.readouterr().out, json.loads(file.read_text())
    assert code == 0 and found["fits"] and found["largest"] >= 2 and found["tokens"] == 10_521
    assert "data.batch_size=2 fits" in told and "a shard of the network on each" in told
    state = sum(found["moments"]["update"][part] for part in ("parameters", "gradients", "AdamW's moments"))
    # Ours has positions and a correction in the transformation network.
    count = PUBLISHED["8b"] + numel(
        transformation_tensors(replace(transformation_size("spatial"), predicts="correction"), 14)
    )
    assert state == pytest.approx(16 * count / 32, rel=0.01)


def test_nsarm_8b_does_not_fit_on_one_card_and_what_would(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    """Full states of 8.76 billion parameters take 140 GB."""
    file = tmp_path / "plan.json"
    assert main(["plan", "nsarm/8b", "--gpus", "1", "--gpu-memory", "141", "--json", str(file)]) == 1
    found = json.loads(file.read_text())
    assert found["training"] > 140e9
    assert any("GPUs" in remedy["words"] and remedy["batch"] for remedy in found["remedies"])
    assert not any("adapter" in " ".join(remedy["overrides"]) for remedy in found["remedies"])


def test_each_stage_is_planned_for_what_it_trains() -> None:
    parameters = {
        stage: ScaleMemory(setting(f"nsarm/8b/{stage}", gpus=32)).moments["update"]["parameters"]
        for stage in ("pretrain", "stage1", "stage2")
    }
    assert parameters["pretrain"] < parameters["stage2"] < 1.1 * parameters["pretrain"]
    assert parameters["stage1"] == pytest.approx(4 * 376.7e6, rel=0.01)  # whole on each


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nsarm/8b/tokenizer"], "family bit_tokenizer"),
        (["nsarm/nano", "needs.weights=demo"], "only samples"),
        (["nsarm/nano", "needs.tokenizer="], "needs.tokenizer names no run"),
        (["nsarm/nano", "needs.tokenizer=nsarm/8b/tokenizer"], "a token of the tokenizer has 56"),
    ],
)
def test_mistakes(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words, "--gpus", "1", "--gpu-memory", "80"]) == 2
    assert told in capsys.readouterr().err


def test_it_answers_without_torch() -> None:
    code = "import sys; from lit_pure.__main__ import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    words = ["plan", "nsarm/8b", "--gpus", "32", "--gpu-memory", "80"]
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True).returncode == 0
