"""Decodes the answers to a batch of prompts: first the text, then the picture with the configured engine.

Knows the order of an answer, and decodes its text greedily. `grammar.py` says which tokens are forced; `plain.py` and
`jacobi.py` decode the picture. Knows nothing of pixels or words.

Shape legend: B images, T ids, C cells, h w grid of codes, D width, V vocabulary.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.prior import LQPrior
from lit_pure.families.pure.sampling import jacobi, plain
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import DrawnCodes, ImagePasses, Progress
from lit_pure.models.cache import KVCache
from lit_pure.models.fused import Reader, reader_of
from lit_pure.models.next_token import Head, NextTokenBackbone

CHECK_EVERY = 8
"""Words between two checks whether all texts have ended: each check waits for the device."""


@dataclass(frozen=True)
class Decoded:
    """The answers of a batch."""

    text: list[list[int]]
    """Ids of each answer's text."""
    codes_Bhw: Tensor
    entropy_Bhw: Tensor
    """Entropy of the distribution from which each code was drawn [nats]; 0 where it was known."""
    k_Bhw: Tensor
    """The k with which each code was drawn; 0 where it was known."""
    tokens: int
    """Tokens of all answers, forced ones included, known codes not."""
    passes: int
    """Passes of the backbone over the pictures of the batch."""
    seconds: float
    logits_BhwN: Tensor | None = None
    """Guided logits of every cell, if asked for."""
    text_seconds: float = 0.0
    """The part of `seconds` spent on prompts and text."""


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
    known_Bhw: Tensor | None = None,
    prior: LQPrior | None = None,
) -> Decoded:
    """Answer each prompt (T,).

    Deterministic: the result depends on weights, prompt, config and image number. It does not depend on the batch, on
    the engine, or, without a prior, on `lq_codes_Bhw`, from which the engine may take its first drafts.

    Args:
        backbone: the model.
        prompts: ids (T,) of each image.
        grammar: of the answers.
        config: how to sample.
        images: a non-negative number for each image, which selects its noise.
        lq_codes_Bhw: codes of the LQ pictures.
        progress: called with the number of new tokens.
        keep_logits: whether to return the guided logits.
        texts: ids of each text, if given: then only the pictures are decoded, as if the model had written these texts.
        known_Bhw: codes that the pictures have whatever the model would draw, for example their neighbours', and -1
            where it draws. The model reads them as if it had drawn them.
        prior: for a backbone whose head has one.
    """
    began = time.perf_counter()
    batch = len(prompts)
    if texts is not None:
        prompts = [torch.cat([ids, ids.new_tensor(said)]) for ids, said in zip(prompts, texts, strict=True)]
    most = max(config.max_text + CHECK_EVERY, len(grammar.filler))
    room = max(map(len, prompts)) + most + grammar.image_length + config.window
    cache = KVCache.empty(backbone.config, batch, room, backbone.head.weight)
    reader = reader_of(backbone)
    written = write_text(reader, backbone.head, prompts, grammar, config, cache, progress, silent=texts is not None)
    text = written if texts is None else list(texts)
    feed_filler(reader, [len(grammar.filler) - len(ids) for ids in text], grammar, cache)
    text_seconds = time.perf_counter() - began  # the device is done: the host has read the lengths of the rows
    expected = prior.of_cells(lq_codes_Bhw.flatten(1)) if prior else None
    passes = ImagePasses(reader, backbone.head, grammar, config, cache, images, keep_logits, expected)
    known_BC = None if known_Bhw is None else known_Bhw.flatten(1).cpu().long()
    if config.engine == "jacobi" or config.one_shape:
        drawn = jacobi.decode_jacobi(passes, lq_codes_Bhw.flatten(1), progress, known_BC)
    else:
        drawn = plain.decode_plain(passes, progress, known_BC)
    if known_BC is not None:
        drawn = _with_known(drawn, known_BC.to(passes.device))
    grid = (batch, grammar.height, grammar.width)
    codes, entropies, ks = (part.view(grid) for part in (drawn.codes_BP, drawn.entropy_BP, drawn.k_BP))
    logits = None if drawn.logits_BPN is None else drawn.logits_BPN.view(*grid, -1)
    known = 0 if known_BC is None else int((known_BC >= 0).sum())
    tokens = sum(map(len, text)) + batch * grammar.image_length - known
    codes.sum().item()  # waits for the device
    seconds = time.perf_counter() - began
    return Decoded(text, codes, entropies, ks, tokens, passes.count, seconds, logits, text_seconds)


def undrawn(codes_Bhw: Tensor) -> Decoded:
    """The answers that consist of given codes: no text, no draws, no passes."""
    zeros_Bhw = torch.zeros(codes_Bhw.shape, device=codes_Bhw.device)
    texts: list[list[int]] = [[] for _ in codes_Bhw]
    return Decoded(texts, codes_Bhw, zeros_Bhw, zeros_Bhw.long(), tokens=0, passes=0, seconds=0.0)


def _with_known(drawn: DrawnCodes, known_BC: Tensor) -> DrawnCodes:
    """What was drawn, with the known codes in their cells, and zeros for the distributions that those never had."""
    is_known_BC = known_BC >= 0
    logits_BCN = drawn.logits_BPN
    return DrawnCodes(
        torch.where(is_known_BC, known_BC, drawn.codes_BP),
        drawn.entropy_BP.masked_fill(is_known_BC, 0),
        drawn.k_BP.masked_fill(is_known_BC, 0),
        None if logits_BCN is None else logits_BCN.masked_fill(is_known_BC[..., None], 0),
    )


def write_text(
    reader: Reader,
    head: Head,
    prompts: Sequence[Tensor],
    grammar: Grammar,
    config: SamplingConfig,
    cache: KVCache,
    progress: Progress | None,
    silent: bool = False,
) -> list[list[int]]:
    """Greedy text of each row up to the start of the image, none if `silent`. The cache then holds prompt and text."""
    batch, longest = len(prompts), max(map(len, prompts))
    lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=cache.length_B.device)
    hidden_BTD = reader.feed(pad_sequence(list(prompts), batch_first=True), [cache])
    cache.commit(lengths_B, longest)
    if silent or not grammar.has_text:
        cache.sync_lengths()
        return [[] for _ in prompts]
    hidden_BD = hidden_BTD[torch.arange(batch), lengths_B - 1]
    unfinished_B = torch.ones_like(lengths_B, dtype=torch.bool)
    illegal_V = ~grammar.text_V.to(hidden_BD.device)
    words: list[Tensor] = []
    counts_B, reported = torch.zeros_like(lengths_B), 0
    most = min(config.max_text, len(grammar.filler) or config.max_text)
    while len(words) < most:
        words_B = head(hidden_BD).masked_fill(illegal_V, -torch.inf).argmax(-1)
        unfinished_B = unfinished_B & (words_B != grammar.image_start)
        words.append(words_B)
        counts_B = counts_B + unfinished_B
        hidden_BD = reader.feed(words_B[:, None], [cache])[:, 0]
        cache.commit(unfinished_B.long(), 1)
        if len(words) % CHECK_EVERY == 0 or len(words) == most:
            counted, unfinished = int(counts_B.sum()), bool(unfinished_B.any())
            if progress is not None:
                progress(counted - reported)
            if not unfinished:
                break
            reported = counted
    cache.sync_lengths()
    rows = zip(torch.stack(words, dim=1).tolist(), counts_B.tolist(), strict=True)
    return [row[:count] for row, count in rows]


def feed_filler(reader: Reader, missing: Sequence[int], grammar: Grammar, cache: KVCache) -> None:
    """Feed each row as many filler tokens as its text is `missing`, if any."""
    most = max(missing)
    if most < 1:
        return
    counts_B = cache.length_B.new_tensor(missing).clamp(min=0)
    reader.feed(cache.length_B.new_tensor([grammar.filler[:most]] * len(missing)), [cache])
    cache.commit(counts_B, most)
    cache.sync_lengths()
