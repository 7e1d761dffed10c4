"""The plain engine against full recomputation, in batches and alone, under the grammar of every mode."""

import pytest
import torch

from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.models import BackboneConfig, SamplingConfig
from lit_pure.config.schema import GuidanceMode
from lit_pure.sampling.grammar import Grammar
from lit_pure.sampling.plain import Decoded, decode
from lit_pure.sequence.assemble import Assembler
from lit_pure.tokens.text import make_vocabulary

VOCABULARY = make_vocabulary(["Medium blur, small noise. A bright picture."] * 5, codes=64, words=300)
HEIGHT, WIDTH = 4, 8
CELLS = torch.tensor([3 + row * (WIDTH + 1) + column for row in range(HEIGHT) for column in range(WIDTH)])


@pytest.fixture(scope="module")
def backbone() -> NextTokenBackbone:
    torch.manual_seed(1)
    model = NextTokenBackbone(BackboneConfig(width=32, layers=2, heads=4, ffn=48, dropout=0.0), VOCABULARY.size)
    torch.nn.init.normal_(model.head.weight, std=0.5)  # far from uniform, so that entropies differ
    model.head.weight.data[VOCABULARY.image_start] *= 2.5  # opens the image now and then
    return model.eval()


def assembler(mode: GuidanceMode) -> Assembler:
    return Assembler(VOCABULARY, mode, downsample=8, max_caption=30)


def prompts(mode: GuidanceMode) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 4), (4, 12), (8, 4))
    return [assembler(mode).prompt(torch.randint(64, shape, generator=generator)) for shape in shapes]


def answer(backbone: NextTokenBackbone, mode: GuidanceMode, config: SamplingConfig, rows: list[int]) -> Decoded:
    grammar = Grammar.of(assembler(mode), HEIGHT, WIDTH)
    chosen = [prompts(mode)[row] for row in rows]
    return decode(backbone, chosen, grammar, config, images=[row + 10 for row in rows], keep_logits=True)


@pytest.mark.parametrize("mode", ["none", "full"])
@pytest.mark.parametrize("guidance", [1.0, 0.8, 3.0])
def test_cached_decoding_equals_full_recomputation(
    backbone: NextTokenBackbone, mode: GuidanceMode, guidance: float
) -> None:
    config = SamplingConfig(guidance=guidance, max_text=9)
    decoded = answer(backbone, mode, config, [0, 1, 2])
    assert decoded.logits_BhwN is not None
    for row, prompt in enumerate(prompts(mode)):
        image = assembler(mode).image_block(decoded.codes_Bhw[row])
        whole = torch.cat([prompt, torch.tensor(decoded.text[row], dtype=torch.long), image])
        with torch.no_grad():
            conditional = backbone.logits(whole[None])[0, -len(image) :]
            unconditional = backbone.logits(image[None])[0]
        guided = unconditional + guidance * (conditional - unconditional)
        expected = guided[CELLS - 1][:, VOCABULARY.code_ids_N]
        assert float((decoded.logits_BhwN[row].flatten(0, 1) - expected).abs().max()) <= 1e-5


@pytest.mark.parametrize("mode", ["perception", "full"])
def test_text_is_the_greedy_text_of_full_recomputation(backbone: NextTokenBackbone, mode: GuidanceMode) -> None:
    decoded = answer(backbone, mode, SamplingConfig(max_text=9), [0, 1, 2])
    legal = VOCABULARY.text_V.clone()
    legal[VOCABULARY.image_start] = True
    for row, prompt in enumerate(prompts(mode)):
        ids, words = prompt, []
        while len(words) < 9:
            with torch.no_grad():
                word = int(backbone.logits(ids[None])[0, -1].masked_fill(~legal, -torch.inf).argmax())
            if word == VOCABULARY.image_start:
                break
            words.append(word)
            ids = torch.cat([ids, torch.tensor([word])])
        assert decoded.text[row] == words
    if mode == "full":
        assert len({len(text) for text in decoded.text}) > 1, "the rows must end at different steps to prove anything"


def test_an_image_has_the_same_tokens_alone_and_in_a_batch(backbone: NextTokenBackbone) -> None:
    config = SamplingConfig(max_text=9)
    together = answer(backbone, "full", config, [0, 1, 2])
    for row in range(3):
        alone = answer(backbone, "full", config, [row])
        assert alone.text[0] == together.text[row]
        assert torch.equal(alone.codes_Bhw[0], together.codes_Bhw[row])


def test_entropy_and_k_belong_to_the_logits(backbone: NextTokenBackbone) -> None:
    decoded = answer(backbone, "none", SamplingConfig(), [0, 1])
    assert decoded.logits_BhwN is not None
    p = decoded.logits_BhwN.softmax(-1)
    assert torch.allclose(decoded.entropy_Bhw, -(p * p.log()).sum(-1), atol=1e-4)
    assert float(decoded.entropy_Bhw.std()) > 0.01
    expected_k = 1 + 1999 / (1 + (5 - decoded.entropy_Bhw).exp())
    assert torch.allclose(decoded.k_Bhw.float(), expected_k.round(), atol=1)


def test_top_1_takes_the_argmax_and_seeds_change_only_the_others(backbone: NextTokenBackbone) -> None:
    top1 = SamplingConfig(top_k="fixed", k=1)
    first = answer(backbone, "none", top1, [0])
    assert first.logits_BhwN is not None
    assert torch.equal(first.codes_Bhw, first.logits_BhwN.argmax(-1))
    other = answer(backbone, "none", SamplingConfig(top_k="fixed", k=1, seed=1), [0])
    assert torch.equal(first.codes_Bhw, other.codes_Bhw)
    drawn = [answer(backbone, "none", SamplingConfig(seed=seed), [0]).codes_Bhw for seed in (0, 1)]
    assert not torch.equal(*drawn)


def test_tokens_and_progress_count_forced_ones_too(backbone: NextTokenBackbone) -> None:
    seen: list[int] = []
    grammar = Grammar.of(assembler("full"), HEIGHT, WIDTH)
    decoded = decode(backbone, prompts("full"), grammar, SamplingConfig(max_text=5), [0, 1, 2], seen.append)
    text = sum(map(len, decoded.text))
    assert decoded.tokens == text + 3 * (3 + HEIGHT * (WIDTH + 1) + 1)
    assert sum(seen) == text + 3 * HEIGHT * (WIDTH + 1)
    assert decoded.seconds > 0


def test_the_grammar_forces_newlines_only_at_row_ends() -> None:
    grammar = Grammar.of(assembler("none"), HEIGHT, WIDTH)
    assert [grammar.forced_after(column) for column in (0, WIDTH - 2)] == [[], []]
    assert grammar.forced_after(WIDTH - 1) == [VOCABULARY.newline]
    assert not grammar.speaks and Grammar.of(assembler("perception"), 4, 4).speaks
    legal = grammar.text_V.nonzero().flatten().tolist()
    assert VOCABULARY.image_start in legal
    assert not {VOCABULARY.newline, VOCABULARY.turn_end, VOCABULARY.bos, *VOCABULARY.code_ids_N.tolist()} & set(legal)
