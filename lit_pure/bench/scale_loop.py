"""The loop that one would write to decode scale by scale: what `bench decode` compares with, and a reference in tests.

Knows the transformer's modules. It takes one pass for each scale, known or not, draws known scales and throws the draws
away, makes keys and values of the caption in every pass, appends to its cache by concatenation, and samples by sorting.
Shares no code with `families/nsarm/scales.py` but the protocol and the result.

Shape legend: B pictures, R rows (2 B with guidance), L blocks, H heads, S tokens so far, N tokens of a scale, b bits of
a token, d head channels, D width.
"""

import time
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.next_scale import ScaleSamplingConfig
from lit_pure.families.nsarm.bits import Uniforms
from lit_pure.families.nsarm.scales import DecodedScales, ScaleCodes
from lit_pure.models.frame_rope import Grid, frame_angles, frame_coordinates
from lit_pure.models.next_scale import NextScaleTransformer
from lit_pure.models.next_scale_blocks import Conditions, ScaleBlock
from lit_pure.models.packed_text import PackedText


class GrowingCache:
    """Keys and values of all blocks, (R, H, S, d) each, copied whenever they grow."""

    def __init__(self, blocks: int) -> None:
        self.stored: list[tuple[Tensor, Tensor] | None] = [None] * blocks

    def mix(self, layer: int, q_RHNd: Tensor, k_RHNd: Tensor, v_RHNd: Tensor) -> Tensor:
        """Append the new keys and values, and attend to all."""
        old = self.stored[layer]
        if old is not None:
            k_RHNd, v_RHNd = torch.cat([old[0], k_RHNd], dim=2), torch.cat([old[1], v_RHNd], dim=2)
        self.stored[layer] = (k_RHNd, v_RHNd)
        return F.scaled_dot_product_attention(q_RHNd, k_RHNd, v_RHNd, scale=1.0)


@torch.inference_mode()
def decode_by_loop(
    transformer: NextScaleTransformer,
    codes: ScaleCodes,
    text: PackedText,
    grids: Sequence[Grid],
    frame: Grid,
    config: ScaleSamplingConfig,
    noise: Uniforms,
    known: Sequence[Tensor] = (),
) -> DecodedScales:
    """The bits of all scales. Arguments and result are those of `families/nsarm/scales.py`, with all logits."""
    began = time.perf_counter()
    guided, pictures = any(value != 1 for value in config.guidance), len(text.lengths)
    captions, drop = list(text.split()), [False] * pictures
    if guided:
        captions, drop = captions * 2, drop + [True] * pictures
    caption = transformer.captions(PackedText.of(captions), drop)
    cache = GrowingCache(len(transformer.blocks))
    sum_BdHW = codes.begin(pictures, transformer.embed.weight.device)
    bits: list[Tensor] = []
    logits: list[Tensor | None] = []
    for scale, grid in enumerate(grids):
        if scale == 0:
            x_RND = (caption.vector_BD + transformer.start_D)[:, None]
        else:
            inputs_BNb = codes.inputs(sum_BdHW, scale).to(transformer.embed.weight.dtype)
            x_RND = transformer.embed(inputs_BNb.repeat(1 + guided, 1, 1))
        x_RND = x_RND + transformer.level.weight[scale]
        angles = frame_angles(
            frame_coordinates([grid], frame).to(x_RND.device),
            transformer.config.width // transformer.config.heads,
            transformer.config.rope_theta,
        )
        ada_R6D = transformer.ada(F.silu(caption.vector_BD)).unflatten(-1, (6, -1))
        shared = Conditions(ada_R6D, angles, caption.tokens_BTD, caption.mask_B11T, None)
        guidance, tau = (values[min(scale, len(values) - 1)] for values in (config.guidance, config.tau))
        for layer, block in enumerate(transformer.blocks):
            assert isinstance(block, ScaleBlock)
            x_RND = block.compute(x_RND, shared, partial(cache.mix, layer))
            if guidance != 1 and config.guidance_layer and layer == len(transformer.blocks) + config.guidance_layer:
                mixed_BND = guidance * x_RND[:pictures] + (1 - guidance) * x_RND[pictures:]
                x_RND = torch.cat([mixed_BND, mixed_BND])
        logits_RNb2 = transformer.head(x_RND, caption.vector_BD) / tau
        logits_BNb2 = logits_RNb2[:pictures]
        if guidance != 1 and not config.guidance_layer:
            logits_BNb2 = guidance * logits_BNb2 + (1 - guidance) * logits_RNb2[pictures:]
        drawn_BNb = sort_and_sample(logits_BNb2, config.top_p, noise(scale, *logits_BNb2.shape[1:3]))
        bits.append(known[scale].bool() if scale < len(known) else drawn_BNb)
        logits.append(logits_BNb2)
        sum_BdHW = codes.add(sum_BdHW, bits[-1], scale)
    sum_BdHW.sum().item()  # waits for the device
    tokens = pictures * sum(rows * columns for rows, columns in grids[len(known) :])
    return DecodedScales(bits, sum_BdHW, len(grids), tokens, time.perf_counter() - began, logits)


def sort_and_sample(logits_BNb2: Tensor, top_p: float, uniform_BNb: Tensor) -> Tensor:
    """Nucleus sampling of two values as of many: sort, sum, remove, normalise, draw; bits (B, N, b), bool."""
    ascending, order = logits_BNb2.float().sort(dim=-1)
    removed = ascending.softmax(-1).cumsum(-1) <= 1 - top_p
    removed[..., -1] = False
    kept = ascending.masked_fill(removed, -torch.inf)
    probabilities = torch.zeros_like(kept).scatter(-1, order, kept.softmax(-1))
    return uniform_BNb < probabilities[..., 1]
