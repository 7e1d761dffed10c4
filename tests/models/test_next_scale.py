"""The next-scale transformer: recorded passes, published sizes, and torch's own parts as oracles."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lit_pure.config.next_scale import NextScaleConfig, next_scale_size
from lit_pure.models.next_scale import NextScaleTransformer, decays
from lit_pure.models.next_scale_blocks import Conditions, ScaleBlock, attend, drop_path
from lit_pure.models.packed_text import PackedText
from lit_pure.models.scale_masks import dense_mask, flex_mask, levels
from tests.families.nsarm.codes import FRAME, GRIDS, TINY, captions, tiny
from tests.golden import golden, grids_of, tensor
from tests.models.published import RATIOS, published_transformer

CPU = torch.device("cpu")
TOKENS = 31
LOGITS = 3.5e-4
"""Ten times what another implementation differs from the published logits."""


def inputs(pictures: int = 2) -> Tensor:
    return torch.randn(pictures, TOKENS - 1, TINY.bits)


@pytest.mark.parametrize("name", RATIOS)
def test_recorded_masked_pass(name: str) -> None:
    values = golden(f"d_{name}")
    transformer, grids = published_transformer(values), grids_of(values["schedule"])
    text = PackedText(tensor(values["text"]), tuple(values["text_lens"].tolist()))
    states: dict[str, Tensor] = {}
    for number, block in enumerate(transformer.blocks, 1):
        block.register_forward_hook(lambda *args, name=f"block{number}": states.update({name: args[-1]}))
    with torch.no_grad():
        caption = transformer.captions(text)
        states["cond"] = caption.vector_BD
        rows = zip(caption.tokens_BTD, text.lengths, strict=True)
        states["text_kv"] = torch.cat([row[:length] for row, length in rows])
        states["ada"] = transformer._conditions(caption, tuple(grids), RATIOS[name]).ada_B6D[:, None]
        states["logits"] = transformer(tensor(values["inputs"]), text, grids, RATIOS[name]).flatten(2)
        for part, found in states.items():
            assert np.abs(found.numpy() - values[f"full/{part}"]).max() <= LOGITS, part
        dropped = transformer(tensor(values["inputs"]), text, grids, RATIOS[name], [True, False]).flatten(2)
    assert np.abs(dropped.numpy() - values["full/logits_sample0_caption_dropped"]).max() <= LOGITS


def test_the_masked_pass_over_a_recorded_decoding_gives_its_logits() -> None:
    values = golden("d_transformer_d8_r1.0")
    transformer, grids = published_transformer(values), grids_of(values["schedule"])
    first = int(values["text_lens"][0])
    text = PackedText(tensor(values["text"])[:first], (first,))
    read = torch.cat([tensor(values[f"cfg1/input_{scale}"]) for scale in range(2, len(grids) + 1)], dim=1)
    with torch.no_grad():
        found = transformer(read, text, grids, RATIOS["transformer_d8_r1.0"]).flatten(2)
    assert np.abs(found.numpy() - values["cfg1/logits_masked"]).max() <= LOGITS


@pytest.mark.parametrize("cuts", [[1, 1, 1, 1], [4], [2, 2], [3, 1], [1, 3]])
def test_feeding_scale_by_scale_equals_the_masked_pass(cuts: list[int]) -> None:
    transformer, text, read = tiny(), captions(5, 3), inputs()
    with torch.no_grad():
        expected = transformer(read, text, GRIDS, FRAME)
        state = transformer.begin(text, GRIDS, FRAME)
        parts = []
        for scales in cuts:
            start = state.length
            stop = start + sum(rows * columns for rows, columns in GRIDS[state.scale : state.scale + scales])
            hidden = transformer.feed(read[:, max(0, start - 1) : stop - 1], state, scales)
            parts.append(transformer.head(hidden, state.caption.vector_BD))
    assert float((torch.cat(parts, dim=1) - expected).abs().max()) <= 1e-4
    with pytest.raises(ValueError, match="0 are left"):
        transformer.feed(None, state)


def test_later_scales_change_no_earlier_logits() -> None:
    transformer, text, read = tiny(), captions(4, 4), inputs()
    changed = read.clone()
    changed[:, 10:] = 0  # the last scale
    with torch.no_grad():
        before, after = (transformer(one, text, GRIDS, FRAME) for one in (read, changed))
    assert torch.equal(before[:, :11], after[:, :11])
    changed[:, 5] = 0  # the third scale sees all of itself
    with torch.no_grad():
        assert not torch.equal(before[:, 9], transformer(changed, text, GRIDS, FRAME)[:, 9])


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_masks_of_both_attentions_are_the_same() -> None:
    grids = ((1, 1), (2, 2), (6, 5), (12, 10))
    level_L = levels(grids, CPU)
    expected = torch.tensor([[key <= query for key in level_L.tolist()] for query in level_L.tolist()])
    assert torch.equal(dense_mask(grids, CPU), expected)
    q, k, v = (torch.randn(2, 3, len(level_L), 16) for _ in range(3))
    try:
        flexible = attend(q, k, v, flex_mask(grids, CPU))
    except (NotImplementedError, RuntimeError) as error:
        pytest.skip(f"no flex attention here: {error}")
    assert torch.allclose(flexible, attend(q, k, v, dense_mask(grids, CPU)), atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_attention_changes_nothing() -> None:
    transformer, text, read = tiny(), captions(5, 3), inputs()
    expected = transformer(read, text, GRIDS, FRAME)
    transformer.config = replace(transformer.config, attention="flex")
    assert torch.equal(transformer(read, text, GRIDS, FRAME), expected), "with gradients on a CPU, sdpa stands in"
    with torch.no_grad():
        assert torch.allclose(transformer(read, text, GRIDS, FRAME), expected, atol=1e-4)


def test_a_dropped_caption_is_replaced_by_learned_rows() -> None:
    transformer, text, read = tiny(), captions(5, 3), inputs()
    empty = PackedText.of([transformer.captions.empty_TW[:5].detach(), text.split()[1]])
    with torch.no_grad():
        dropped = transformer(read, text, GRIDS, FRAME, [True, False])
        assert torch.allclose(dropped, transformer(read, empty, GRIDS, FRAME), atol=1e-5)
        assert not torch.allclose(dropped[0], transformer(read, text, GRIDS, FRAME)[0], atol=1e-2)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("2b", 2_204_564_032),
        ("8b", 8_375_791_824),
        ("layer12", 125_185_696),
        ("layer16", 361_633_792),
        ("layer24", 940_944_832),
    ],
)
def test_published_sizes(size: str, parameters: int) -> None:
    with torch.device("meta"):
        transformer = NextScaleTransformer(next_scale_size(size))
    assert sum(item.numel() for item in transformer.parameters()) == parameters


def test_nano_is_small() -> None:
    transformer = NextScaleTransformer(next_scale_size("nano"))
    assert 1.2e6 < sum(item.numel() for item in transformer.parameters()) < 1.3e6
    assert float(transformer.blocks[0].ada_6D[:2].detach().mean()) == pytest.approx(1, abs=1e-3)


def test_initial_weights_are_the_published_ones() -> None:
    config = NextScaleConfig(width=192, layers=4, heads=6, ffn=768, bits=8, text_width=64, text_length=9)
    transformer = NextScaleTransformer(config)
    block, std = transformer.blocks[2], math.sqrt(1 / 192 / 3)
    expected = {
        block.attention.qkv.weight: std,
        block.attention.out.weight: std / math.sqrt(8),
        block.text_attention.out.weight: std / math.sqrt(8),
        block.ffn.down.weight: std / math.sqrt(8),
        block.ffn.up.weight: std,
        transformer.ada.weight: std,
        transformer.level.weight: std,
        transformer.head.out.weight: std * 0.02,
        transformer.head.ada.weight: std * 1e-3,
        block.ada_6D[:2]: 5e-6 / math.sqrt(192),
        block.ada_6D[2:]: 1e-3 / math.sqrt(192),
    }
    for weight, wanted in expected.items():
        assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.12)
    assert not any(item.any() for name, item in transformer.named_parameters() if name.endswith("bias"))
    assert torch.allclose(block.attention.scale_H.exp(), torch.full((6,), 4.0))


def test_weight_decay_spares_what_the_published_rule_spares() -> None:
    spared = {name for name, item in tiny().named_parameters() if not decays(name, item)}
    assert {"captions.empty_TW", "start_D", "level.weight", "blocks.0.ada_6D", "captions.pool.query_Hd"} <= spared
    assert not {"embed.weight", "head.out.weight", "blocks.1.attention.qkv.weight", "ada.weight"} & spared


def test_recomputed_blocks_have_the_same_gradients() -> None:
    """As training does it: `train_forward` is replaced, and gets tensors and what blocks share."""
    transformer, text = tiny(replace(TINY, drop_path=0.5)).train(), captions(5, 3)

    def recomputed(block: ScaleBlock, x: Tensor, shared: Conditions) -> Tensor:
        return checkpoint(ScaleBlock.compute, block, x, shared, use_reentrant=False)

    gradients = []
    for forward in (ScaleBlock.compute, recomputed):
        for block in transformer.blocks:
            block.train_forward = forward
        torch.manual_seed(1)
        read = inputs().requires_grad_()
        loss = transformer(read, text, GRIDS, FRAME, [True, False]).square().mean()
        gradients.append(torch.autograd.grad(loss, [read, *transformer.parameters()]))
    torch.testing.assert_close(*gradients)
    assert all(bool(gradient.any()) for gradient in gradients[0]), "every parameter takes part"


def test_gradients_are_finite_differences() -> None:
    transformer = tiny(replace(TINY, width=8, heads=1, layers=1, ffn=8, pool_heads=1)).double()
    text = PackedText(torch.randn(3, TINY.text_width, dtype=torch.float64), (3,))
    grids, slope = [(1, 1), (2, 2)], torch.randn(1, 5, TINY.bits, 2)

    def loss(read: Tensor) -> Tensor:
        # The head computes in float32, so the last hidden states are looked at.
        state: list[Tensor] = []
        hook = transformer.blocks[-1].register_forward_hook(lambda *args: state.append(args[-1]))
        transformer(read, text, grids, FRAME)
        hook.remove()
        return (state[0] * slope.flatten(2)[..., :8].double()).sum()

    read = torch.randn(1, 4, TINY.bits, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(read), read)
    with torch.no_grad():
        for place in ((0, 0, 0), (0, 3, 5)):
            step = torch.zeros_like(read)
            step[place] = 1e-3
            # Rotations and cosines are computed in float32.
            difference = (loss(read + step) - loss(read - step)) / 2e-3
            assert float(gradient[place]) == pytest.approx(float(difference), rel=1e-2, abs=1e-3)


def test_drop_path_skips_whole_pictures_in_training_only() -> None:
    ones = torch.ones(4000, 2, 3)
    kept = drop_path(ones, 0.25, training=True)
    assert torch.equal(drop_path(ones, 0.25, training=False), ones)
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept)), "a picture is skipped as a whole"
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float((kept[:, 0, 0] > 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    shares = [block.drop_path for block in NextScaleTransformer(replace(TINY, drop_path=0.2)).blocks]
    assert shares == [0, pytest.approx(0.1), pytest.approx(0.2)]


def test_bfloat16_weights_give_similar_logits() -> None:
    transformer, text, read = tiny(), captions(5, 3), inputs()
    with torch.no_grad():
        expected = transformer(read, text, GRIDS, FRAME)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = transformer(read, text, GRIDS, FRAME)
        rounded = transformer.bfloat16()(read, text, GRIDS, FRAME)
    for found in (mixed, rounded):
        assert found.dtype == torch.float32
        assert float((found - expected).norm() / expected.norm()) < 0.1


def test_what_does_not_fit_is_refused() -> None:
    transformer, text = tiny(), captions(5, 3)
    with pytest.raises(ValueError, match="do not fit 4 scales"):
        transformer(inputs()[:, 1:], text, GRIDS, FRAME)
    with pytest.raises(ValueError, match="at most 5"):
        transformer(inputs(), text, [(1, 1)] * 6, FRAME)
    with pytest.raises(ValueError, match=r"the first one is \(1, 1\)"):
        transformer.begin(text, [(2, 2)], FRAME)
    with pytest.raises(ValueError, match="cut captions to 9 tokens"):
        transformer.begin(captions(10), GRIDS, FRAME)
    with pytest.raises(ValueError, match="at least one"):
        captions(3, 0)
