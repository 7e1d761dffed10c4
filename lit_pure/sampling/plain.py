"""The plain engine: one token after the other, with a cache, guidance as one batch.

Knows how a backbone is fed and in which order an answer grows. Asks `grammar.py` what is forced and `logits.py` for
each token. Knows nothing of pictures or words.

Shape legend: B images, R rows of the cache (B conditional, then B unconditional), N codes, h w grid, D width, T ids.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lit_pure.backbone.blocks import KVCache
from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.models import SamplingConfig
from lit_pure.sampling.grammar import Grammar
from lit_pure.sampling.logits import GumbelNoise, draw, guide

Progress = Callable[[int], None]
"""Called with the number of tokens that were just made."""


@dataclass(frozen=True)
class Decoded:
    """The answers of a batch."""

    text: list[list[int]]
    """Ids of each answer's text."""
    codes_Bhw: Tensor
    entropy_Bhw: Tensor
    """Entropy of the distribution that each code was drawn from [nats]."""
    k_Bhw: Tensor
    """The k that each code was drawn with."""
    tokens: int
    """Tokens of all answers, forced ones included."""
    seconds: float
    logits_BhwN: Tensor | None = None
    """Guided logits of every cell, where they were asked for."""


@torch.inference_mode()
def decode(
    backbone: NextTokenBackbone,
    prompts: Sequence[Tensor],
    grammar: Grammar,
    config: SamplingConfig,
    images: Sequence[int],
    progress: Progress | None = None,
    keep_logits: bool = False,
) -> Decoded:
    """Answer each prompt (T,). `images` are non-negative numbers that name the images, for the noise.

    Deterministic: the result depends on weights, prompt, config and image name, not on the batch.
    """
    began = time.perf_counter()
    batch = len(prompts)
    guided = config.guidance != 1
    longest = max(len(prompt) for prompt in prompts)
    capacity = longest + config.max_text + grammar.image_length
    cache = KVCache.empty(backbone.config, batch * (2 if guided else 1), capacity, backbone.head.weight)
    text = _answer_text(backbone, prompts, grammar, config, cache.first(batch), progress)
    cache.upper = longest + max((len(words) for words in text), default=0)
    codes, entropies, ks, logits = _answer_image(backbone, grammar, config, cache, images, progress, keep_logits)
    tokens = sum(map(len, text)) + batch * grammar.image_length
    return Decoded(text, codes, entropies, ks, tokens, time.perf_counter() - began, logits)


def _answer_text(
    backbone: NextTokenBackbone,
    prompts: Sequence[Tensor],
    grammar: Grammar,
    config: SamplingConfig,
    cache: KVCache,
    progress: Progress | None,
) -> list[list[int]]:
    """Greedy text of each row until it opens the image; the cache then holds prompt and text."""
    lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=cache.length_B.device)
    hidden_BD = backbone.feed(pad_sequence(list(prompts), batch_first=True), cache, lengths_B)
    text: list[list[int]] = [[] for _ in prompts]
    speaking_B = torch.full_like(lengths_B, grammar.speaks, dtype=torch.bool)
    illegal_V = ~grammar.text_V.to(hidden_BD.device)
    for _ in range(config.max_text):
        if not bool(speaking_B.any()):
            break
        words_B = backbone.head(hidden_BD).masked_fill(illegal_V, -torch.inf).argmax(-1)
        speaking_B &= words_B != grammar.image_start
        for row in speaking_B.nonzero().flatten().tolist():
            text[row].append(int(words_B[row]))
        hidden_BD = backbone.feed(words_B[:, None], cache, speaking_B.long())
        if progress is not None:
            progress(int(speaking_B.sum()))
    return text


def _answer_image(
    backbone: NextTokenBackbone,
    grammar: Grammar,
    config: SamplingConfig,
    cache: KVCache,
    images: Sequence[int],
    progress: Progress | None,
    keep_logits: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Codes, entropies, ks (B, h, w) and perhaps logits (B, h, w, N) of the image.

    Unconditional rows see `start h w` and the codes, nothing of the prompt or the text, at positions from 0.
    """
    rows, batch = len(cache.length_B), len(images)
    device = cache.length_B.device
    code_ids_N = grammar.code_ids_N.to(device)
    head_ND = backbone.head.weight[code_ids_N]  # only codes are legal in a cell: no logits for anything else
    noise = GumbelNoise(config.seed, list(images), len(code_ids_N), device)
    hidden_RD = backbone.feed(torch.tensor(grammar.opening, device=device).expand(rows, -1), cache)
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    seen: list[Tensor] = []
    for row in range(grammar.height):
        noise_BwN = noise.row(row, grammar.width)
        for column in range(grammar.width):
            logits_RN = F.linear(hidden_RD, head_ND).float()
            logits_BN = guide(logits_RN[:batch], logits_RN[batch:], config.guidance) if rows > batch else logits_RN
            made.append(draw(logits_BN, noise_BwN[:, column], config))
            if keep_logits:
                seen.append(logits_BN)
            forced = torch.tensor(grammar.forced_after(column), device=device, dtype=torch.long).expand(batch, -1)
            if len(made) < grammar.height * grammar.width:
                ids_BT = torch.cat([code_ids_N[made[-1][0]][:, None], forced], dim=1)
                hidden_RD = backbone.feed(ids_BT.repeat(rows // batch, 1), cache)
            if progress is not None:
                progress(batch * (1 + forced.shape[1]))
    grid = (batch, grammar.height, grammar.width)
    codes, entropies, ks = (torch.stack(column, dim=1).view(grid) for column in zip(*made, strict=True))
    return codes, entropies, ks, torch.stack(seen, dim=1).view(*grid, -1) if keep_logits else None
