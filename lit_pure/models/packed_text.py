"""Captions of a batch as one packed tensor, and how they are padded for attention.

Knows tokens and lengths. Knows no encoder, no words.

Shape legend: N tokens of all captions, B captions, T tokens of the longest one, W channels of the text encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class PackedText:
    """The encoded captions of a batch, one after the other, without padding."""

    tokens_NW: Tensor
    lengths: tuple[int, ...]
    """Tokens of each caption; known to the host, so that nothing waits for the device."""

    def __post_init__(self) -> None:
        if min(self.lengths, default=0) < 1 or sum(self.lengths) != len(self.tokens_NW):
            raise ValueError(
                f"captions of {list(self.lengths)} tokens do not make {len(self.tokens_NW)} tokens; each needs at "
                "least one (the end of the caption counts)"
            )

    @classmethod
    def of(cls, captions: Sequence[Tensor]) -> "PackedText":
        """Pack the captions (T, W) of a batch."""
        return cls(torch.cat(list(captions)), tuple(map(len, captions)))

    def split(self) -> tuple[Tensor, ...]:
        """The captions (T, W), each by itself."""
        return self.tokens_NW.split(list(self.lengths))


def pad(packed_NC: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """Padded rows (B, T, C), and the mask (B, 1, 1, T) of what is no padding; None where there is no padding."""
    padded_BTC = pad_sequence(packed_NC.split(list(lengths)), batch_first=True)
    if len(set(lengths)) == 1:
        return padded_BTC, None
    places_T = torch.arange(padded_BTC.shape[1], device=padded_BTC.device)
    lengths_B = torch.tensor(lengths, device=padded_BTC.device)
    return padded_BTC, (places_T < lengths_B[:, None])[:, None, None]
