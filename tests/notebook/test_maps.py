"""The k map against the paper's rule, and maps laid over pictures."""

import math

import pytest
import torch

from lit_pure.config.pure import SamplingConfig
from lit_pure.images.color import heatmap
from lit_pure.notebook.maps import k_map, overlay_map


@pytest.mark.parametrize("rule", [SamplingConfig(), SamplingConfig(k_min=5, k_max=700, mu=3.5, top_k="fixed", k=1)])
def test_k_follows_equation_2_whatever_rule_drew_the_codes(rule):
    """k = k_min + (k_max - k_min) / (1 + exp(-(H - mu))), to the nearest whole number; H at most 10."""
    entropies = [[0.0, 1.3, rule.mu], [4.9, 9.7, 12.0]]
    wanted = [
        [round(rule.k_min + (rule.k_max - rule.k_min) / (1 + math.exp(rule.mu - min(h, 10.0)))) for h in row]
        for row in entropies
    ]
    found = k_map(torch.tensor(entropies), rule).tolist()
    assert all(abs(a - b) <= 1 for x, y in zip(found, wanted, strict=True) for a, b in zip(x, y, strict=True))


def test_a_map_covers_the_cell_that_it_is_of():
    black_3ss, map_hw = torch.zeros(3, 8, 8), torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    laid = overlay_map(map_hw, black_3ss, 0.0, 4.0)
    alone = heatmap(4 - map_hw, 0.0, 4.0, 4)
    assert laid.shape == (3, 8, 8)
    torch.testing.assert_close(laid, 0.55 * alone)
    assert laid[:, 6, 6].sum() < laid[:, 1, 1].sum()  # dark is high
