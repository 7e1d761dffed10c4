"""The backbone: upstream's Chameleon as oracle, PURE's published size, cache against full pass."""

import pytest
import torch
from transformers import ChameleonConfig, ChameleonForConditionalGeneration, DynamicCache
from transformers.models.chameleon.configuration_chameleon import ChameleonVQVAEConfig

from lit_pure.config.compose import compose
from lit_pure.config.pure import BackboneConfig, PureExperiment
from lit_pure.models.cache import KVCache
from lit_pure.models.next_token import Head, NextTokenBackbone, Prior

TINY = BackboneConfig(width=32, layers=3, heads=4, ffn=48, dropout=0.0)
ROWS = 60


def tiny() -> NextTokenBackbone:
    torch.manual_seed(0)
    backbone = NextTokenBackbone(TINY, ROWS).eval()
    for parameter in backbone.parameters():
        # Norms away from one and zero, or a swapped pair would not be seen.
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    return backbone


def chameleon_with_weights_of(backbone: NextTokenBackbone) -> ChameleonForConditionalGeneration:
    vq = ChameleonVQVAEConfig(base_channels=32, channel_multiplier=[1], num_res_blocks=1, num_embeddings=4, embed_dim=8)
    config = ChameleonConfig(
        vocab_size=ROWS, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=4, vocabulary_map={}, vq_config=vq.to_dict(), max_position_embeddings=128,
        rms_norm_eps=1e-5, pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = ChameleonForConditionalGeneration(config).eval()
    theirs = model.state_dict()
    pairs = {"model.embed_tokens": "embed", "model.norm": "norm", "lm_head": "head"}
    for i in range(3):
        pairs |= {f"model.layers.{i}.self_attn.{x}_proj": f"blocks.{i}.attention.{x}" for x in "qkv"}
        pairs |= {f"model.layers.{i}.self_attn.o_proj": f"blocks.{i}.attention.out"}
        pairs |= {f"model.layers.{i}.self_attn.{x}_norm": f"blocks.{i}.attention.{x}_norm" for x in "qk"}
        pairs |= {f"model.layers.{i}.mlp.{x}_proj": f"blocks.{i}.ffn.{x}" for x in ("gate", "up", "down")}
        pairs |= {f"model.layers.{i}.input_layernorm": f"blocks.{i}.attention_norm"}
        pairs |= {f"model.layers.{i}.post_attention_layernorm": f"blocks.{i}.ffn_norm"}
    ours = backbone.state_dict()
    for their_name, our_name in pairs.items():
        for part in ("weight", "bias"):
            if f"{our_name}.{part}" in ours:
                # Upstream keeps one copy of the q and k norms per head; ours is shared by all heads.
                theirs[f"{their_name}.{part}"].copy_(ours[f"{our_name}.{part}"])
    return model


def test_logits_are_those_of_transformers_chameleon() -> None:
    backbone = tiny()
    ids_BT = torch.randint(ROWS, (2, 17))
    with torch.no_grad():
        difference = (backbone.logits(ids_BT) - chameleon_with_weights_of(backbone)(input_ids=ids_BT).logits).abs()
    assert float(difference.max()) <= 1e-5


def test_cached_logits_are_those_of_transformers_chameleon_with_its_cache() -> None:
    backbone = tiny()
    upstream, theirs = chameleon_with_weights_of(backbone), DynamicCache()
    ours = KVCache.empty(TINY, rows=2, capacity=20, like=backbone.head.weight)
    ids_BT = torch.randint(ROWS, (2, 17))
    with torch.no_grad():
        for start, stop in ((0, 9), (9, 10), (10, 11), (11, 17)):
            part_BT = ids_BT[:, start:stop]
            expected = upstream(input_ids=part_BT, past_key_values=theirs, use_cache=True).logits
            logits = backbone.head(backbone.feed(part_BT, [ours]))
            ours.commit(stop - start, stop - start)
            assert float((logits - expected).abs().max()) <= 1e-5


def test_the_paper_s_backbone_has_7080_million_parameters() -> None:
    paper = compose("pure/paper")
    assert isinstance(paper, PureExperiment)
    with torch.device("meta"):
        backbone = NextTokenBackbone(paper.backbone, 73728)
    assert sum(item.numel() for item in backbone.parameters()) == pytest.approx(7.080e9, rel=1e-3)


@pytest.mark.parametrize("pad_multiple", [1, 8])
def test_feeding_step_by_step_equals_one_pass_with_rows_of_different_length(pad_multiple: int) -> None:
    backbone = tiny()
    prompts = [torch.randint(ROWS, (length,)) for length in (9, 4, 6)]
    more_BT = torch.randint(ROWS, (3, 5))
    cache = KVCache.empty(TINY, rows=3, capacity=14, like=backbone.head.weight, pad_multiple=pad_multiple)
    steps = [
        (torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=7), torch.tensor([9, 4, 6])),
        (more_BT[:, :1], 1),
        (more_BT[:, 1:2], torch.tensor([1, 0, 1])),  # row 1 waits
        (more_BT[:, 2:], 3),
    ]
    with torch.no_grad():
        states = []
        for ids, counts in steps:
            backbone.feed(ids, [cache])  # reading without taking leaves no trace
            states.append((backbone.feed(ids, [cache]), counts))
            cache.commit(counts, ids.shape[1])
            if isinstance(counts, torch.Tensor):
                cache.sync_lengths()
        for row, prompt in enumerate(prompts):
            taken = [0, 2, 3, 4] if row == 1 else [0, 1, 2, 3, 4]
            full = backbone(torch.cat([prompt, more_BT[row, taken]])[None])[0]
            start = 0
            for state_BTD, counts in states:
                count = int(counts[row]) if isinstance(counts, torch.Tensor) else counts
                difference = state_BTD[row, :count] - full[start : start + count]
                assert count == 0 or float(difference.abs().max()) <= 1e-5
                start += count
    assert cache.length_B.tolist() == [14, 8, 11] and cache.max_length == 14


def test_two_caches_are_read_as_one_batch() -> None:
    backbone = tiny()
    first, second = (torch.randint(ROWS, (2, length)) for length in (7, 3))
    more_RT = torch.randint(ROWS, (4, 2))
    caches = [KVCache.empty(TINY, 2, 9, backbone.head.weight)]
    caches.append(caches[0].empty_like(5))
    with torch.no_grad():
        for ids, cache in zip((first, second), caches, strict=True):
            backbone.feed(ids, [cache])
            cache.commit(ids.shape[1], ids.shape[1])
        together = backbone.feed(more_RT, caches)
        for rows, ids in ((slice(0, 2), first), (slice(2, 4), second)):
            alone = backbone(torch.cat([ids, more_RT[rows]], dim=1))[:, -2:]
            assert float((together[rows] - alone).abs().max()) <= 1e-5


def test_later_tokens_change_no_earlier_logits() -> None:
    backbone = tiny()
    ids_BT = torch.randint(ROWS, (1, 12))
    changed = ids_BT.clone()
    changed[0, 8:] = 0
    with torch.no_grad():
        assert torch.equal(backbone(ids_BT)[:, :8], backbone(changed)[:, :8])


def test_rows_that_start_from_vectors_keep_their_neighbours() -> None:
    backbone = NextTokenBackbone(BackboneConfig(width=4096, layers=1, heads=4, ffn=8), ROWS)
    before = backbone.embed.weight.detach().clone()
    vectors_NC = torch.nn.functional.normalize(torch.randn(20, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    rows_N = torch.arange(30, 50)
    backbone.init_rows_from(rows_N, vectors_NC, torch.Generator().manual_seed(1))
    for matrix in (backbone.embed.weight.detach(), backbone.head.weight.detach()):
        cosines = torch.nn.functional.normalize(matrix[rows_N], dim=-1)
        assert torch.allclose(cosines @ cosines.T, vectors_NC @ vectors_NC.T, atol=0.1)
        assert float(matrix[rows_N].std()) == pytest.approx(0.02, rel=0.1)
    assert torch.equal(backbone.embed.weight[:30], before[:30])
    assert not torch.equal(backbone.embed.weight, backbone.head.weight)


def test_dropout_acts_in_training_only() -> None:
    backbone = NextTokenBackbone(BackboneConfig(width=32, layers=1, heads=4, ffn=48, dropout=0.5), ROWS)
    ids_BT = torch.randint(ROWS, (1, 6))
    assert not torch.equal(backbone(ids_BT), backbone(ids_BT))
    backbone.eval()
    assert torch.equal(backbone(ids_BT), backbone(ids_BT))


@pytest.mark.parametrize("follows", [False, True])
def test_a_prior_is_a_weighted_cosine_in_the_logits(follows: bool) -> None:
    """The loss with a prior, and its gradient by autograd, from all logits at once."""
    torch.manual_seed(0)
    head = Head(8, 20, prior=3.0, follows=follows)
    slope_D = torch.zeros(8)
    if head.prior_slope_D is not None:
        assert not head.prior_slope_D.any(), "at first it follows nothing"
        slope_D = head.prior_slope_D = torch.nn.Parameter(torch.randn(8))
    hidden_ND, labels_N, weight_N = torch.randn(6, 8), torch.randint(20, (6,)), torch.full((6,), 1 / 6)
    vectors_VC = torch.nn.functional.normalize(torch.randn(20, 4), dim=-1)
    vectors_VC[:5] = 0  # words that are no codes
    expected_NC = vectors_VC[torch.tensor([7, 9, 12, 0, 19, 7])]
    weight_N1 = head.prior_1 + hidden_ND @ slope_D[:, None]
    logits_NV = hidden_ND @ head.weight.T + weight_N1 * (expected_NC @ vectors_VC.T)
    wanted = torch.nn.functional.cross_entropy(logits_NV, labels_N)
    learned = [head.prior_1, head.weight, *([slope_D] if follows else [])]
    slopes = torch.autograd.grad(wanted, learned)
    loss, _ = head(hidden_ND, labels_N, weight_N, 4, prior=Prior(expected_NC, vectors_VC))
    found = torch.autograd.grad(loss, learned)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    torch.testing.assert_close(found, slopes, rtol=1e-4, atol=1e-6)
    assert Head(8, 20).state_dict().keys() == {"weight"}, "PURE's own head has none"
