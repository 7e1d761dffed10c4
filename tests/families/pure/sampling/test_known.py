"""Codes that are known before: they are kept, and all others are drawn as the model draws behind them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.sampling import passes
from lit_pure.families.pure.sampling.decode import Decoded, decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.models.cache import KVCache
from lit_pure.models.next_token import NextTokenBackbone
from tests.families.pure.sampling.answers import HEIGHT, VOCABULARY, WIDTH, assembler, lq_codes, prompts
from tests.families.pure.sampling.test_plain import CELLS, Replays

ROWS = [0, 1, 2]


@pytest.fixture(scope="module")
def exact(backbone: NextTokenBackbone) -> NextTokenBackbone:
    """In float64, so that no tie is decided by how a matrix product was cut."""
    twin = NextTokenBackbone(backbone.config, VOCABULARY.size).double().eval()
    twin.load_state_dict(backbone.state_dict())
    return twin


def neighbours(top: int, left: int, seed: int) -> Tensor:
    """Codes (h, w) as tiles above and to the left give them, -1 elsewhere."""
    codes_hw = torch.randint(64, (HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))
    codes_hw[top:, left:] = -1
    return codes_hw


KNOWN = {
    "corner, left, top": torch.stack([neighbours(0, 0, 0), neighbours(0, 3, 1), neighbours(2, 0, 2)]),
    "both": torch.stack([neighbours(1, 2, 0), neighbours(1, 2, 1), neighbours(1, 2, 2)]),
    "all but one cell": torch.stack([neighbours(3, 7, 0), neighbours(1, 1, 1), neighbours(0, 0, 2)]),
    "holes": torch.randint(-2, 64, (3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(7)).where(
        torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(8)) < 0.5, torch.tensor(-1)
    ).clamp(min=-1),
    "rows that nobody needs": torch.stack([neighbours(1, 2, 0), neighbours(0, 2, 1), neighbours(1, 0, 2)]).index_fill(
        1, torch.tensor([3]), 0
    ),
    "nothing": torch.full((3, HEIGHT, WIDTH), -1),
}  # fmt: skip


def answer(
    backbone: NextTokenBackbone,
    config: SamplingConfig,
    known_Bhw: Tensor | None,
    rows: list[int] = ROWS,
    text_length: int = 0,
    seen: list[int] | None = None,
) -> Decoded:
    grammar = Grammar.of(assembler("full", text_length), HEIGHT, WIDTH)
    chosen, names = [prompts("full")[row] for row in rows], [row + 10 for row in rows]
    known_Bhw = None if known_Bhw is None else known_Bhw[rows]
    told = None if seen is None else seen.append
    return decode(backbone, chosen, grammar, config, names, lq_codes(rows), told, keep_logits=True, known_Bhw=known_Bhw)


@pytest.mark.parametrize(("text_length", "guidance"), [(0, 1.0), (40, 3.0)])
@pytest.mark.parametrize("case", KNOWN)
def test_they_are_kept_and_the_others_follow_from_them(
    backbone: NextTokenBackbone, case: str, text_length: int, guidance: float
) -> None:
    """By full recomputation of every sequence, without a cache."""
    known_Bhw = KNOWN[case]
    decoded = answer(backbone, SamplingConfig(guidance=guidance, max_text=9), known_Bhw, text_length=text_length)
    assert torch.equal(decoded.codes_Bhw[known_Bhw >= 0], known_Bhw[known_Bhw >= 0])
    assert decoded.logits_BhwN is not None
    for row, prompt in enumerate(prompts("full")):
        image, text = assembler("full").image_block(decoded.codes_Bhw[row]), decoded.text[row]
        said = torch.tensor([*text, *assembler("full", text_length).filler(len(text))], dtype=torch.long)
        with torch.no_grad():
            conditional = backbone.logits(torch.cat([prompt, said, image])[None])[0, -len(image) :]
            unconditional = backbone.logits(image[None])[0]
        guided = (unconditional + guidance * (conditional - unconditional))[CELLS - 1][:, VOCABULARY.code_ids_N]
        drawn = known_Bhw[row].flatten() < 0
        off = (decoded.logits_BhwN[row].flatten(0, 1) - guided)[drawn].abs().max()
        assert float(off) <= 1e-5 * max(1, guidance)


@pytest.mark.parametrize(
    ("changes", "guidance"), [({}, 1.0), ({"window": 2}, 3.0), ({"window": 200}, 3.0), ({"drafts": "left"}, 0.8)]
)
@pytest.mark.parametrize("case", KNOWN)
def test_both_engines_draw_the_same(
    exact: NextTokenBackbone, case: str, changes: dict[str, object], guidance: float
) -> None:
    config = replace(SamplingConfig(guidance=guidance, max_text=4, seed=3), **changes)
    plain = answer(exact, config, KNOWN[case])
    found = answer(exact, replace(config, engine="jacobi"), KNOWN[case])
    assert torch.equal(found.codes_Bhw, plain.codes_Bhw) and torch.equal(found.k_Bhw, plain.k_Bhw)
    assert torch.allclose(found.entropy_Bhw, plain.entropy_Bhw) and found.tokens == plain.tokens


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_a_picture_is_the_same_alone_and_beside_others_that_know_other_cells(
    exact: NextTokenBackbone, engine: str
) -> None:
    config = SamplingConfig(max_text=9, engine=engine)
    for known_Bhw in KNOWN.values():
        together = answer(exact, config, known_Bhw)
        for row in ROWS:
            alone = answer(exact, config, known_Bhw, [row])
            assert torch.equal(alone.codes_Bhw[0], together.codes_Bhw[row])
            assert torch.allclose(alone.entropy_Bhw[0], together.entropy_Bhw[row])


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_what_the_model_drew_itself_changes_nothing(exact: NextTokenBackbone, engine: str) -> None:
    config = SamplingConfig(max_text=9, engine=engine)
    free = answer(exact, config, None)
    for known_Bhw in KNOWN.values():
        again = answer(exact, config, torch.where(known_Bhw >= 0, free.codes_Bhw, -1))
        assert torch.equal(again.codes_Bhw, free.codes_Bhw)
        assert torch.allclose(again.entropy_Bhw, free.entropy_Bhw.masked_fill(known_Bhw >= 0, 0))
        assert torch.equal(again.k_Bhw, free.k_Bhw.masked_fill(known_Bhw >= 0, 0))


def test_known_cells_take_no_pass_and_are_not_counted(backbone: NextTokenBackbone) -> None:
    for known_Bhw in KNOWN.values():
        unknown_B = (known_Bhw < 0).sum((1, 2))
        for engine in ("plain", "jacobi"):
            seen: list[int] = []
            decoded = answer(backbone, SamplingConfig(max_text=5, engine=engine), known_Bhw, seen=seen)
            assert decoded.passes <= int(unknown_B.max()) and (engine == "jacobi" or decoded.passes == unknown_B.max())
            text = sum(map(len, decoded.text))
            assert decoded.tokens == text + int(unknown_B.sum()) + 3 * (3 + HEIGHT + 1)
            assert text + int(unknown_B.sum()) <= sum(seen) <= decoded.tokens


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_replayed_passes_give_the_same_codes(
    backbone: NextTokenBackbone, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CUDA graphs replay them: what a pass depends on is in its key, or in the tensors that it is given."""
    config = SamplingConfig(engine=engine, max_text=5, window=4)
    expected = [answer(backbone, config, known_Bhw).codes_Bhw for known_Bhw in KNOWN.values()]

    def make_caller(cache: KVCache) -> Replays:
        cache.pad_multiple = 16
        return Replays()

    monkeypatch.setattr(passes, "make_caller", make_caller)
    for known_Bhw, codes_Bhw in zip(KNOWN.values(), expected, strict=True):
        assert torch.equal(answer(backbone, config, known_Bhw).codes_Bhw, codes_Bhw)
