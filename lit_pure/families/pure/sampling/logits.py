"""From logits to a token: guidance, entropy, top-k, temperature, noise. All engines draw with these functions.

Knows rows of logits over legal tokens. Knows nothing of models, caches or positions. The order is the published one:
guidance -> legal tokens only -> entropy -> top-k -> temperature -> draw; entropy is taken before temperature.

Shape legend: B rows, N legal tokens, K largest of them.
"""

import torch
from torch import Tensor

from lit_pure.config.pure import SamplingConfig

ENTROPY_CEILING = 10.0
"""Entropies are clamped to [0, 10] nats before equation 2, as the official code does."""


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance u + g (c - u) of logits, or of the hidden states before a linear head.

    The paper's g = 0.8 lies between the two.
    """
    return unconditional + scale * (conditional - unconditional)


def entropy(logits_BN: Tensor) -> Tensor:
    """H = -sum p ln p of each row [nats], between 0 and ln N (paper section 3.4)."""
    log_p = logits_BN.log_softmax(-1)
    # An impossible token adds nothing: 0 ln 0 = 0.
    return -(log_p.exp() * log_p.nan_to_num(neginf=0.0)).sum(-1)


def dynamic_k(entropy_B: Tensor, k_min: int, k_max: int, mu: float) -> Tensor:
    """k = k_min + (k_max - k_min) sigmoid(H - mu), rounded and clamped to [k_min, k_max] (paper equation 2)."""
    share_B = torch.sigmoid(entropy_B.clamp(0, ENTROPY_CEILING) - mu)
    return (k_min + (k_max - k_min) * share_B).round().clamp(k_min, k_max).long()


def choose_k(entropy_B: Tensor, config: SamplingConfig) -> tuple[Tensor, int]:
    """The k of each row under the configured rule, and an upper bound of all."""
    if config.top_k == "fixed":
        return torch.full_like(entropy_B, config.k, dtype=torch.long), config.k
    return dynamic_k(entropy_B, config.k_min, config.k_max, config.mu), config.k_max


def keep_top_k(logits_BN: Tensor, k_B: Tensor, most: int) -> Tensor:
    """Set all logits below each row's k-th largest to -inf; ties at the k-th stay. No k exceeds `most`."""
    most = min(most, logits_BN.shape[-1])
    largest_BK = logits_BN.topk(most, dim=-1).values
    threshold_B1 = largest_BK.gather(-1, k_B.clamp(1, most)[:, None] - 1)
    return logits_BN.masked_fill(logits_BN < threshold_B1, -torch.inf)


def draw(
    logits_BN: Tensor, noise_BN: Tensor, config: SamplingConfig, may_look: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Token, entropy [nats] and k of each row, from guided logits over legal tokens and Gumbel noise.

    argmax(logits / T + Gumbel noise) has exactly the softmax's distribution (Gumbel-max), and is a fixed function of
    the logits once the noise is fixed. With k = 1 it is the argmax.

    Where the host `may_look` at results for nothing, the same tokens come from a count (`_found_by_count`).
    """
    entropy_B = entropy(logits_BN)
    k_B, most = choose_k(entropy_B, config)
    if may_look and most > 1:
        return _found_by_count(logits_BN, noise_BN, k_B, most, config.temperature), entropy_B, k_B
    kept_BN = keep_top_k(logits_BN, k_B, most)
    return (kept_BN / config.temperature + noise_BN).argmax(-1), entropy_B, k_B


def _found_by_count(logits_BN: Tensor, noise_BN: Tensor, k_B: Tensor, most: int, temperature: float) -> Tensor:
    """The token (B,) without looking for the k largest: most of the time the winner among all is one of them.

    It is one exactly where fewer than k logits are larger than its own; only the other rows need the k largest.
    """
    token_B = (logits_BN / temperature + noise_BN).argmax(-1)
    larger_B = (logits_BN > logits_BN.gather(-1, token_B[:, None])).sum(-1)
    outside_B = larger_B >= k_B
    if outside_B.any():
        kept_BN = keep_top_k(logits_BN[outside_B], k_B[outside_B], most)
        token_B[outside_B] = (kept_BN / temperature + noise_BN[outside_B]).argmax(-1)
    return token_B
