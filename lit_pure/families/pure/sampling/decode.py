"""The answers to a batch of prompts: text first, then the picture by the configured engine.

Knows the order of an answer and how its text is decoded (greedily). `grammar.py` says what is forced, `plain.py` and
`jacobi.py` write the picture. Knows nothing of pixels or words.

Shape legend: B images, T ids, C cells, h w grid of codes, D width, V vocabulary.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.sampling import jacobi, plain
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import ImagePasses, Progress
from lit_pure.models.cache import KVCache
from lit_pure.models.next_token import NextTokenBackbone

CHECK_EVERY = 8
"""Words between two looks at whether all texts have ended: each look waits for the device."""


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
    passes: int
    """Passes of the backbone over the pictures of the batch."""
    seconds: float
    logits_BhwN: Tensor | None = None
    """Guided logits of every cell, where they were asked for."""
    text_seconds: float = 0.0
    """Of the seconds, those for reading the prompts and writing the text."""


@torch.inference_mode()
def decode(
    backbone: NextTokenBackbone,
    prompts: Sequence[Tensor],
    grammar: Grammar,
    config: SamplingConfig,
    images: Sequence[int],
    lq_codes_Bhw: Tensor,
    progress: Progress | None = None,
    keep_logits: bool = False,
    texts: Sequence[list[int]] | None = None,
) -> Decoded:
    """Answer each prompt (T,). `images` are non-negative numbers that name the images, for the noise.

    Where `texts` are given (ids of each), nothing is written but the pictures, as if the model had said these words.

    Deterministic: the result depends on weights, prompt, config and image name, not on the batch, nor on the engine or
    on `lq_codes_Bhw`, which it may take its first guesses from.
    """
    began = time.perf_counter()
    batch = len(prompts)
    if texts is not None:
        prompts = [torch.cat([ids, ids.new_tensor(said)]) for ids, said in zip(prompts, texts, strict=True)]
    most = max(config.max_text + CHECK_EVERY, len(grammar.filler))
    room = max(map(len, prompts)) + most + grammar.image_length + config.window
    cache = KVCache.empty(backbone.config, batch, room, backbone.head.weight)
    written = write_text(backbone, prompts, grammar, config, cache, progress, silent=texts is not None)
    text = written if texts is None else list(texts)
    fill_up(backbone, [len(grammar.filler) - len(ids) for ids in text], grammar, cache)
    text_seconds = time.perf_counter() - began  # the device has settled how long the rows are, so it is done
    passes = ImagePasses(backbone, grammar, config, cache, images, keep_logits)
    if config.engine == "jacobi":
        drawn = jacobi.decode_jacobi(passes, lq_codes_Bhw.flatten(1), progress)
    else:
        drawn = plain.decode_plain(passes, progress)
    grid = (batch, grammar.height, grammar.width)
    codes, entropies, ks = (part.view(grid) for part in (drawn.codes_BP, drawn.entropy_BP, drawn.k_BP))
    logits = None if drawn.logits_BPN is None else drawn.logits_BPN.view(*grid, -1)
    tokens = sum(map(len, text)) + batch * grammar.image_length
    codes.sum().item()  # waits for the device
    seconds = time.perf_counter() - began
    return Decoded(text, codes, entropies, ks, tokens, passes.count, seconds, logits, text_seconds)


def write_text(
    backbone: NextTokenBackbone,
    prompts: Sequence[Tensor],
    grammar: Grammar,
    config: SamplingConfig,
    cache: KVCache,
    progress: Progress | None,
    silent: bool = False,
) -> list[list[int]]:
    """Greedy text of each row until it opens the image, none if `silent`; the cache then holds prompt and text."""
    batch, longest = len(prompts), max(map(len, prompts))
    lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=cache.length_B.device)
    hidden_BTD = backbone.feed(pad_sequence(list(prompts), batch_first=True), [cache])
    cache.commit(lengths_B, longest)
    if silent or not grammar.has_text:
        cache.sync_lengths()
        return [[] for _ in prompts]
    hidden_BD = hidden_BTD[torch.arange(batch), lengths_B - 1]
    speaking_B = torch.ones_like(lengths_B, dtype=torch.bool)
    illegal_V = ~grammar.text_V.to(hidden_BD.device)
    words: list[Tensor] = []
    counts_B, told = torch.zeros_like(lengths_B), 0
    most = min(config.max_text, len(grammar.filler) or config.max_text)
    while len(words) < most:
        words_B = backbone.head(hidden_BD).masked_fill(illegal_V, -torch.inf).argmax(-1)
        speaking_B = speaking_B & (words_B != grammar.image_start)
        words.append(words_B)
        counts_B = counts_B + speaking_B
        hidden_BD = backbone.feed(words_B[:, None], [cache])[:, 0]
        cache.commit(speaking_B.long(), 1)
        if len(words) % CHECK_EVERY == 0 or len(words) == most:
            counted, speaking = int(counts_B.sum()), bool(speaking_B.any())
            if progress is not None:
                progress(counted - told)
            if not speaking:
                break
            told = counted
    cache.sync_lengths()
    rows = zip(torch.stack(words, dim=1).tolist(), counts_B.tolist(), strict=True)
    return [row[:count] for row, count in rows]


def fill_up(backbone: NextTokenBackbone, short: Sequence[int], grammar: Grammar, cache: KVCache) -> None:
    """Let each row read as much filler as its text is too short, if any."""
    most = max(short)
    if most < 1:
        return
    counts_B = cache.length_B.new_tensor(short).clamp(min=0)
    backbone.feed(cache.length_B.new_tensor([grammar.filler[:most]] * len(short)), [cache])
    cache.commit(counts_B, most)
    cache.sync_lengths()
