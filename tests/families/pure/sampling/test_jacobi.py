"""The Jacobi engine gives the very tokens of the plain one, in fewer passes; a broken acceptance is seen."""

from dataclasses import replace

import pytest
import torch

from lit_pure.config.pure import BackboneConfig, SamplingConfig
from lit_pure.families.pure.sampling import jacobi
from lit_pure.families.pure.sampling.decode import Decoded
from lit_pure.models.next_token import NextTokenBackbone
from tests.families.pure.sampling.answers import HEIGHT, VOCABULARY, WIDTH, answer

SEEDS = 100
ROWS = [[1], [0, 1, 2]]


@pytest.fixture(scope="module")
def exact(backbone: NextTokenBackbone) -> NextTokenBackbone:
    """In float64, so that no tie is decided by how a matrix product was cut."""
    twin = NextTokenBackbone(backbone.config, VOCABULARY.size).double().eval()
    twin.load_state_dict(backbone.state_dict())
    return twin


@pytest.fixture(scope="module")
def plain_answers(exact: NextTokenBackbone) -> list[list[Decoded]]:
    """What the plain engine says, for each of ROWS and each seed."""
    configs = [SamplingConfig(seed=seed, max_text=4) for seed in range(SEEDS)]
    return [[answer(exact, "full", config, rows) for config in configs] for rows in ROWS]


def same(one: Decoded, other: Decoded) -> bool:
    return (
        one.text == other.text
        and torch.equal(one.codes_Bhw, other.codes_Bhw)
        and torch.equal(one.k_Bhw, other.k_Bhw)
        and torch.allclose(one.entropy_Bhw, other.entropy_Bhw)
    )


@pytest.mark.parametrize("batch", [0, 1], ids=["batch1", "batch3"])
@pytest.mark.parametrize("window", [4, 16, 32])
def test_the_tokens_are_those_of_the_plain_engine(
    exact: NextTokenBackbone, plain_answers: list[list[Decoded]], window: int, batch: int
) -> None:
    passes = 0
    for seed, plain in enumerate(plain_answers[batch]):
        config = SamplingConfig(seed=seed, max_text=4, engine="jacobi", window=window)
        found = answer(exact, "full", config, ROWS[batch])
        assert same(found, plain), f"seed {seed}"
        assert plain.passes == HEIGHT * WIDTH
        passes += found.passes
    assert passes < SEEDS * HEIGHT * WIDTH, "drafts must be right now and then, or nothing was shown"


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("changes", [{"top_k": "fixed", "k": 1}, {"top_k": "fixed", "k": 7}, {"drafts": "left"},
                                     {"drafts": "random"}, {"window": 2}, {"window": 200}])  # fmt: skip
def test_so_they_are_under_every_setting(exact: NextTokenBackbone, guidance: float, changes: dict[str, object]) -> None:
    for seed in range(5):
        config = replace(SamplingConfig(seed=seed, guidance=guidance, max_text=3), **changes)
        plain = answer(exact, "perception", config, [0, 1, 2])
        assert same(answer(exact, "perception", replace(config, engine="jacobi"), [0, 1, 2]), plain)


def test_guided_logits_are_those_of_the_plain_engine(exact: NextTokenBackbone) -> None:
    plain, found = (answer(exact, "none", SamplingConfig(engine=engine), [0, 2]) for engine in ("plain", "jacobi"))
    assert plain.logits_BhwN is not None and found.logits_BhwN is not None
    assert float((plain.logits_BhwN - found.logits_BhwN).abs().max()) < 1e-12


@pytest.mark.parametrize(
    "broken",
    [
        lambda right_BW: right_BW.long().sum(dim=1),  # counts right drafts behind a wrong one too
        lambda right_BW: right_BW.long().cumprod(dim=1).sum(dim=1) + 1,  # trusts one draft more than was checked
    ],
    ids=["holes", "one more"],
)
def test_a_broken_acceptance_gives_other_tokens(
    exact: NextTokenBackbone, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jacobi, "leading", broken)
    wrong = 0
    for seed in range(20):
        config = SamplingConfig(seed=seed, max_text=3)
        plain = answer(exact, "full", config, [0, 1, 2])
        wrong += not same(answer(exact, "full", replace(config, engine="jacobi"), [0, 1, 2]), plain)
    assert wrong >= 10


def test_where_the_past_does_not_matter_a_pass_takes_the_whole_window() -> None:
    """A model without layers predicts from the last token alone; with equal embeddings, from nothing at all."""
    torch.manual_seed(0)
    deaf = NextTokenBackbone(BackboneConfig(width=32, layers=1, heads=4, ffn=48, dropout=0.0), VOCABULARY.size).eval()
    deaf.embed.weight.data[:] = deaf.embed.weight.data[:1]
    config = SamplingConfig(engine="jacobi", window=12, guidance=1)
    found = answer(deaf.double(), "none", config, [0])
    sequence = 3 + HEIGHT * (WIDTH + 1) - 1
    # The first pass replaces all drafts of its window by final tokens, so every second pass at the latest gains W.
    assert found.passes <= 2 * -(-sequence // 12) + 1
    assert torch.equal(found.codes_Bhw, answer(deaf, "none", replace(config, engine="plain"), [0]).codes_Bhw)


@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_products_of_one_shape_change_no_token_where_nothing_is_rounded(
    exact: NextTokenBackbone, plain_answers: list[list[Decoded]], engine: str
) -> None:
    for seed in range(5):
        config = SamplingConfig(seed=seed, max_text=4, one_shape=True, engine=engine)  # type: ignore[arg-type]
        assert same(answer(exact, "full", config, ROWS[1]), plain_answers[1][seed])
