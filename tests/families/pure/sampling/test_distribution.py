"""Codes have the distribution that the formulas say: chi-square over two cells, against a second computation.

A picture of 1 x 2 cells, so that the joint distribution of both codes can be written down: each cell's from the logits
of a full pass without a cache, then in float64 over the whole vocabulary, step by step as published.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lit_pure.config.pure import BackboneConfig, SamplingConfig
from lit_pure.families.pure.sampling.decode import decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.models.next_token import NextTokenBackbone

DRAWS, CODES = 20_000, 40
SEED = 1
"""One noise for all cases, so they stand or fall together: docs/notebook/sampling.md has the p-values of 24 seeds."""
VOCABULARY = make_vocabulary(["Medium blur."], codes=CODES, words=260)
ASSEMBLER = Assembler(VOCABULARY, "none", downsample=32, max_caption=30)
PROMPT = ASSEMBLER.prompt(torch.tensor([[3, 1]]))
OPENING = torch.tensor(ASSEMBLER.opening(1, 2))

RULES = {
    "top-1": {"top_k": "fixed", "k": 1},
    "top-6": {"top_k": "fixed", "k": 6},
    "top-2000": {"top_k": "fixed", "k": 2000},
    "dynamic": {"top_k": "dynamic"},
    "dynamic, few": {"top_k": "dynamic", "k_max": 30, "mu": 2.5},
}


@pytest.fixture(scope="module")
def backbone() -> NextTokenBackbone:
    torch.manual_seed(2)
    model = NextTokenBackbone(BackboneConfig(width=16, layers=1, heads=2, ffn=24, dropout=0.0), VOCABULARY.size)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    torch.nn.init.normal_(model.embed.weight, std=1.0)  # the second code must depend on the first
    return model.eval()


def probabilities(backbone: NextTokenBackbone, codes: list[int], config: SamplingConfig) -> np.ndarray:
    """P(code) of the cell behind `codes`, by the published order: guidance, mask, entropy, top-k, temperature."""
    image = torch.cat([OPENING, VOCABULARY.code_ids_N[codes]])
    with torch.no_grad():
        conditional, unconditional = (
            backbone.logits(ids[None])[0, -1].double().numpy() for ids in (torch.cat([PROMPT, image]), image)
        )
    logits = unconditional + config.guidance * (conditional - unconditional)
    legal = np.isin(np.arange(VOCABULARY.size), VOCABULARY.code_ids_N.numpy())
    p = np.exp(np.where(legal, logits, -np.inf) - logits[legal].max())
    p /= p.sum()
    entropy = -sum(x * math.log(x + 1e-10) for x in p)
    k = config.k
    if config.top_k == "dynamic":
        share = 1 / (1 + math.exp(-(min(max(entropy, 0), 10) - config.mu)))
        k = round(config.k_min + (config.k_max - config.k_min) * share)
    kept = set(np.argsort(-np.where(legal, logits, -np.inf))[: min(k, CODES)])
    ids = VOCABULARY.code_ids_N.tolist()
    weights = np.array([math.exp(logits[i] / config.temperature) if i in kept else 0.0 for i in ids])
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("rule", "guidance", "engine"),
    [(rule, guidance, "plain") for rule in RULES for guidance in (1.0, 0.8)] + [("dynamic, few", 2.0, "jacobi")],
)
def test_codes_have_the_published_distribution(
    backbone: NextTokenBackbone, rule: str, guidance: float, engine: str
) -> None:
    config = SamplingConfig(**RULES[rule], guidance=guidance, engine=engine, window=4, seed=SEED)
    first = probabilities(backbone, [], config)
    expected = DRAWS * first[:, None] * np.stack([probabilities(backbone, [code], config) for code in range(CODES)])
    grammar = Grammar.of(ASSEMBLER, 1, 2)
    counts = np.zeros((CODES, CODES))
    for start in range(0, DRAWS, 4000):
        names = list(range(start, start + 4000))
        guesses = torch.zeros(4000, 1, 2, dtype=torch.long)
        codes = decode(backbone, [PROMPT] * 4000, grammar, config, names, guesses).codes_Bhw[:, 0]
        np.add.at(counts, tuple(codes.T.numpy()), 1)
    assert counts[expected == 0].sum() == 0, "a token outside the top k was drawn"
    common = expected >= 5  # the chi-square approximation; the rest is one bin
    found, wanted = counts[common], expected[common]
    if (rest := expected[~common].sum()) > 1e-9:
        found, wanted = np.append(found, DRAWS - found.sum()), np.append(wanted, rest)
    if len(wanted) == 1:
        assert rule == "top-1" and found[0] == DRAWS
    else:
        assert stats.chisquare(found, wanted).pvalue > 0.01
