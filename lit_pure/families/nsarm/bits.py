"""How a bit is drawn: its probability in closed form, and noise that is fixed before anything is drawn.

Knows two logits per bit, temperature, guidance and clipping. Knows nothing of scales' grids or of the transformer. The
noise of a bit depends on (seed, image, scale, bit) alone, so a bit is a fixed function of its logits: the same in any
batch, and however many scales were known before it.

Shape legend: B pictures, N tokens of a scale, b bits of a token.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lit_pure.families.pure.sampling.noise import fixed_uniform

Uniforms = Callable[[int, int, int], Tensor]
"""Number of a scale, from 0, its tokens N, bits of a token b -> uniform numbers in [0, 1), (B, N, b)."""


class BitNoise:
    """Uniform numbers for the bits of several pictures."""

    def __init__(self, seed: int, images: Sequence[int], device: torch.device) -> None:
        """`images`: a non-negative number for each picture of the batch."""
        self.seed, self.images, self.device = seed, list(images), device

    def __call__(self, scale: int, tokens: int, bits: int) -> Tensor:
        """Uniform numbers (B, N, b) of a scale."""
        return torch.stack(
            [fixed_uniform((self.seed, image, scale), (tokens, bits), self.device) for image in self.images]
        )


def guide(conditional: Tensor, unconditional: Tensor, guidance: float | Tensor) -> Tensor:
    """Classifier-free guidance: u + g (c - u), of logits or hidden states."""
    return guidance * conditional + (1 - guidance) * unconditional


def probability_of_one(logits_BNb2: Tensor, top_p: float) -> Tensor:
    """Probability (B, N, b) of 1 in float32: 0 or 1 where the likelier value has at least `top_p`.

    Of two values, nucleus sampling (arXiv 1904.09751) keeps either both or the likelier one, so nothing is sorted.
    """
    p1_BNb = torch.sigmoid(logits_BNb2[..., 1].float() - logits_BNb2[..., 0].float())
    return p1_BNb.masked_fill(p1_BNb <= 1 - top_p, 0).masked_fill(p1_BNb >= top_p, 1)


def draw_bits(logits_BNb2: Tensor, top_p: float, uniform_BNb: Tensor) -> Tensor:
    """Bits (B, N, b), bool: 1 exactly where the uniform number lies below the probability of 1."""
    return uniform_BNb < probability_of_one(logits_BNb2, top_p)
