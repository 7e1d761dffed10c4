"""The plain engine against full recomputation, in batches and alone, under the grammar of every mode."""

import gc
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lit_pure.config.pure import GuidanceMode, SamplingConfig
from lit_pure.families.pure.sampling import passes, plain
from lit_pure.families.pure.sampling.decode import decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.models.cache import KVCache
from lit_pure.models.next_token import NextTokenBackbone
from tests.families.pure.sampling.answers import HEIGHT, VOCABULARY, WIDTH, answer, assembler, lq_codes, prompts

CELLS = torch.tensor([3 + row * (WIDTH + 1) + column for row in range(HEIGHT) for column in range(WIDTH)])


@pytest.mark.parametrize("mode, text_length", [("none", 0), ("full", 0), ("full", 40)])
@pytest.mark.parametrize("guidance", [1.0, 0.8, 3.0])
def test_cached_decoding_equals_full_recomputation(
    backbone: NextTokenBackbone, mode: GuidanceMode, text_length: int, guidance: float
) -> None:
    """Also where text is filled up, which takes more tokens here than text may have."""
    config = SamplingConfig(guidance=guidance, max_text=9)
    decoded = answer(backbone, mode, config, [0, 1, 2], text_length)
    assert decoded.logits_BhwN is not None
    for row, prompt in enumerate(prompts(mode)):
        image = assembler(mode).image_block(decoded.codes_Bhw[row])
        text = decoded.text[row]
        said = torch.tensor([*text, *assembler(mode, text_length).filler(len(text))], dtype=torch.long)
        whole = torch.cat([prompt, said, image])
        with torch.no_grad():
            conditional = backbone.logits(whole[None])[0, -len(image) :]
            unconditional = backbone.logits(image[None])[0]
        guided = unconditional + guidance * (conditional - unconditional)
        expected = guided[CELLS - 1][:, VOCABULARY.code_ids_N]
        # Guidance enlarges what both logits are off by.
        assert float((decoded.logits_BhwN[row].flatten(0, 1) - expected).abs().max()) <= 1e-5 * max(1, guidance)


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
    config, codes = SamplingConfig(max_text=5), lq_codes([0, 1, 2])
    decoded = decode(backbone, prompts("full"), grammar, config, [0, 1, 2], codes, seen.append)
    text = sum(map(len, decoded.text))
    assert decoded.tokens == text + 3 * (3 + HEIGHT * (WIDTH + 1) + 1)
    assert sum(seen) == text + 3 * HEIGHT * (WIDTH + 1)
    assert decoded.seconds > 0


def test_the_grammar_tells_words_from_everything_else() -> None:
    grammar = Grammar.of(assembler("none"), HEIGHT, WIDTH)
    assert not grammar.has_text and Grammar.of(assembler("perception"), 4, 4).has_text
    legal = grammar.text_V.nonzero().flatten().tolist()
    assert VOCABULARY.image_start in legal
    assert not {VOCABULARY.newline, VOCABULARY.turn_end, VOCABULARY.bos, *VOCABULARY.code_ids_N.tolist()} & set(legal)


class Looks(TorchDispatchMode):
    """Counts operations whose result the host waits for."""

    WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        # Indexing by a mask asks how many are True.
        mask = name in ("index", "index_put_") and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name.startswith(self.WAITING) or mask:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


def test_the_picture_is_written_without_waiting_for_the_device(
    backbone: NextTokenBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, decode_plain = Looks(), plain.decode_plain

    def watched(*arguments: Any) -> passes.DrawnCodes:
        with looks:
            return decode_plain(*arguments)

    monkeypatch.setattr(plain, "decode_plain", watched)
    monkeypatch.setattr(passes, "may_look", lambda device: False)  # as on a GPU
    answer(backbone, "full", SamplingConfig(max_text=5), [0, 1, 2])
    assert looks.seen == []
    with looks:
        bool(torch.ones(1).any())
        torch.ones(3)[torch.ones(3) > 0]
    assert looks.seen == ["_local_scalar_dense", "index"], "or it would not have seen anything"


Pass = Callable[..., tuple[torch.Tensor, ...]]


class Replays:
    """Stands in for CUDA graphs where there is no CUDA: the first call of a key fixes all that Python decides.

    What is replayed sees tensors by address: inputs are copied into held ones, and everything else must be in the key.
    """

    def __init__(self) -> None:
        self.held: dict[Hashable, tuple[torch.Tensor, ...]] = {}

    def __call__(self, function: Pass, key: Hashable, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if key not in self.held:
            self.held[key] = tuple(value.clone() for value in inputs)
            function(*self.held[key])  # recorded, and run for nothing
        for place, value in zip(self.held[key], inputs, strict=True):
            place.copy_(value)
        return tuple(output.clone() for output in function(*self.held[key]))


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_replayed_passes_over_coarsely_read_caches_give_the_same_tokens(
    backbone: NextTokenBackbone, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SamplingConfig(engine=engine, max_text=5, window=4)
    expected = answer(backbone, "full", config, [0, 1, 2])
    made: list[Replays] = []

    def make_caller(cache: KVCache) -> Replays:
        cache.pad_multiple = 16
        made.append(Replays())
        return made[-1]

    monkeypatch.setattr(passes, "make_caller", make_caller)
    found = answer(backbone, "full", config, [0, 1, 2])
    assert torch.equal(found.codes_Bhw, expected.codes_Bhw)
    assert 1 < len(made[0].held) < expected.passes / 2, "few graphs, used often"


def test_nothing_outlives_its_picture(backbone: NextTokenBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches are large: they must go at once, not when Python looks for circles of references."""
    alive: list[weakref.ref[passes.ImagePasses]] = []
    init = passes.ImagePasses.__init__

    def noticed(self: passes.ImagePasses, *arguments: Any) -> None:
        alive.append(weakref.ref(self))
        init(self, *arguments)

    monkeypatch.setattr(passes.ImagePasses, "__init__", noticed)
    gc.disable()
    try:
        for engine in ("plain", "jacobi"):
            answer(backbone, "full", SamplingConfig(engine=engine, max_text=3), [0, 1])
    finally:
        gc.enable()
    assert [reference() for reference in alive] == [None, None]
