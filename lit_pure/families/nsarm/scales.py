"""Decodes the bits of a batch of pictures, scale by scale.

Knows the order of passes: all known scales and the first unknown one in one block-causal prefill, then one pass per
scale; guidance; the protocol of the tokenizer's part. `bits.py` draws; the transformer stores keys and values. Knows
nothing of pixels or words.

Shape legend: B pictures, R rows of the transformer (2 B with guidance), K scales, N tokens of a scale, b bits of a
token, D width.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lit_pure.config.next_scale import ScaleSamplingConfig, per_scale
from lit_pure.families.nsarm.bits import Uniforms, draw_bits, guide
from lit_pure.models.frame_rope import Grid
from lit_pure.models.next_scale import NextScaleTransformer
from lit_pure.models.packed_text import PackedText
from lit_pure.models.scale_masks import scale_sizes
from lit_pure.models.scale_state import ScaleState

Progress = Callable[[int], object]
"""Called with the number of new tokens."""


class ScaleCodes(Protocol):
    """The tokenizer's part of decoding, for the grids of one picture: from bits to what the transformer reads next.

    A running sum is a latent (B, d, H, W) on the grid of the last scale. Tokens are in rows; their bits are the
    channels of a code, or those of a patch of 2x2 codes.
    """

    def begin(self, pictures: int, device: torch.device) -> Tensor:
        """The sum of no codes, in float32 whatever the dtype of the transformer."""

    def add(self, sum_BdHW: Tensor, bits_BNb: Tensor, scale: int) -> Tensor:
        """The sum with the codes of a scale (from 0), whose bits are 0 or 1."""

    def inputs(self, sum_BdHW: Tensor, scale: int) -> Tensor:
        """The sum on the grid of a scale, as tokens (B, N, b)."""


@dataclass(frozen=True)
class DecodedScales:
    """The pictures of a batch."""

    bits: list[Tensor]
    """Bits (B, N, b) of each scale, bool; known ones as they were given."""
    sum_BdHW: Tensor
    """The running sum of all scales: what the tokenizer decodes."""
    passes: int
    """Passes of the transformer; one over both branches counts once."""
    tokens: int
    """Tokens that were drawn, of all pictures."""
    seconds: float
    logits: list[Tensor | None]
    """Logits (B, N, b, 2) of each scale after temperature and guidance, if asked for; None where bits were known."""


@torch.inference_mode()
def decode_scales(
    transformer: NextScaleTransformer,
    codes: ScaleCodes,
    text: PackedText,
    grids: Sequence[Grid],
    frame: Grid,
    config: ScaleSamplingConfig,
    noise: Uniforms,
    known: Sequence[Tensor] = (),
    keep_logits: bool = False,
    progress: Progress | None = None,
) -> DecodedScales:
    """Draw the bits of all scales that are not known.

    Deterministic: a picture depends on weights, caption, known bits, config and its noise, not on the batch.

    Args:
        transformer: the model.
        codes: the tokenizer's part, for these grids.
        text: encoded captions; their number is that of the pictures.
        grids: rows and columns of each scale.
        frame: grid on which all positions lie.
        config: how to sample.
        noise: uniform numbers of each bit, for example `BitNoise`.
        known: bits (B, N, b) of the first scales, 0 or 1; these are not drawn.
        keep_logits: whether to return the logits.
        progress: called with the number of new tokens.

    Raises:
        ValueError: the known bits do not fit the grids, or tau or guidance has another number of values than scales.
    """
    began = time.perf_counter()
    grids = tuple(grids)
    sizes, pictures = scale_sizes(grids), len(text.lengths)
    check_known(known, pictures, sizes, transformer.config.bits)
    sampler = Sampler(transformer, text, grids, frame, config)
    sum_BdHW = codes.begin(pictures, transformer.embed.weight.device)
    waiting: list[Tensor] = []
    bits = [bits_BNb.bool() for bits_BNb in known]
    logits: list[Tensor | None] = [None] * len(known)
    for scale, size in enumerate(sizes):
        if scale:
            waiting.append(codes.inputs(sum_BdHW, scale))
        if scale >= len(known):
            logits_BNb2 = sampler(waiting, scale)
            waiting = []
            bits.append(draw_bits(logits_BNb2, config.top_p, noise(scale, size, transformer.config.bits)))
            logits.append(logits_BNb2 if keep_logits else None)
            if progress is not None:
                progress(pictures * size)
        sum_BdHW = codes.add(sum_BdHW, bits[scale], scale)
    sum_BdHW.sum().item()  # waits for the device
    drawn = pictures * sum(sizes[len(known) :])
    return DecodedScales(bits, sum_BdHW, sampler.passes, drawn, time.perf_counter() - began, logits)


class Sampler:
    """Passes of the transformer over one batch: inputs of scales in, guided logits of the last one out."""

    def __init__(
        self,
        transformer: NextScaleTransformer,
        text: PackedText,
        grids: tuple[Grid, ...],
        frame: Grid,
        config: ScaleSamplingConfig,
    ) -> None:
        self.transformer, self.guided, self.passes = transformer, config.guided, 0
        self.tau = per_scale(config.tau, len(grids), "tau")
        self.guidance = per_scale(config.guidance, len(grids), "guidance")
        self.layer = guided_layer(config.guidance_layer, len(transformer.blocks))
        dropped = [False] * len(text.lengths)
        if self.guided:  # the second branch: captions of the same lengths, replaced by learned rows
            text = PackedText.of([*text.split(), *text.split()])
            dropped += [True] * len(dropped)
        self.state: ScaleState = transformer.begin(text, grids, frame, dropped)
        self.sizes = torch.tensor(scale_sizes(grids))

    def __call__(self, inputs: Sequence[Tensor], scale: int) -> Tensor:
        """Logits (B, N, b, 2) of a scale after temperature and guidance.

        `inputs` (B, N, b) are those of all scales up to it that were not read yet; the first scale has none.
        """
        fed_RQb = torch.cat(list(inputs), dim=1).repeat(1 + self.guided, 1, 1) if inputs else None
        read = slice(self.state.scale, scale + 1)
        after = self._guide_inside(read) if self.layer is not None else None
        hidden_RQD = self.transformer.feed(fed_RQb, self.state, read.stop - read.start, after)
        self.passes += 1
        return self._logits(hidden_RQD[:, -int(self.sizes[scale]) :], scale)

    def _guide_inside(self, read: slice) -> Callable[[int, Tensor], Tensor] | None:
        """Guides hidden states after one block; both branches continue with the result. None if nothing is guided."""
        guidance_K = torch.tensor(self.guidance[read])
        if bool((guidance_K == 1).all()):
            return None
        guidance_Q1 = guidance_K.repeat_interleave(self.sizes[read])[:, None].to(self.state.keys_NBHSd)

        def after(layer: int, x_RQD: Tensor) -> Tensor:
            if layer != self.layer:
                return x_RQD
            conditional, unconditional = x_RQD.tensor_split(2)
            mixed = guide(conditional, unconditional, guidance_Q1)
            return torch.cat([mixed, torch.where(guidance_Q1 == 1, unconditional, mixed)])

        return after

    def _logits(self, hidden_RND: Tensor, scale: int) -> Tensor:
        vector_RD, guidance, tau = self.state.caption.vector_BD, self.guidance[scale], self.tau[scale]
        if self.guided and self.layer is None and guidance != 1:
            conditional, unconditional = (self.transformer.head(hidden_RND, vector_RD) / tau).tensor_split(2)
            return guide(conditional, unconditional, guidance)
        pictures = len(hidden_RND) // (1 + self.guided)  # the first branch says all
        return self.transformer.head(hidden_RND[:pictures], vector_RD[:pictures]) / tau


def guided_layer(item: int, layers: int) -> int | None:
    """The block after which guidance acts, from 0; None: on the logits. Raises ValueError where there is none such."""
    if not -layers <= item <= 0:
        raise ValueError(f"guidance_layer = {item} names none of {layers} blocks; choose one of {-layers} to 0")
    return layers + item if item else None


def check_known(known: Sequence[Tensor], pictures: int, sizes: Sequence[int], bits: int) -> None:
    """Raises ValueError where known bits are not those of the first scales."""
    found = [tuple(bits_BNb.shape) for bits_BNb in known]
    wanted = [(pictures, size, bits) for size in sizes[: len(known)]]
    if found != wanted:
        raise ValueError(f"known bits of shapes {found} are not those of the first scales, {wanted}")
