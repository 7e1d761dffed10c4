"""HQ codes that the model reads wrong while it is trained, so that it can live with what it draws itself.

A model that has only ever read true codes trusts its neighbours too much: in its own pictures one wrong code calls for
the next. Labels stay true. NSARM (arXiv 2510.00820) does likewise with bits. Knows sequences and unit vectors, no
losses.

Shape legend: B samples, T positions, N codes, K codes near one, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lit_pure.families.pure.sequence.assemble import IGNORE
from lit_pure.families.pure.sequence.vocabulary import Vocabulary

NEAR = 64
"""From how many of the codes most like the true one a wrong one is drawn."""


class Misreading:
    """Replaces a share of the HQ codes in sequences by codes like them."""

    def __init__(self, vectors_NC: Tensor, vocabulary: Vocabulary, most: float) -> None:
        """`vectors_NC`: the codes' unit vectors; `most`: each sample draws its share of wrong codes up to this."""
        self.vocabulary, self.most = vocabulary, most
        cosines_NN = vectors_NC @ vectors_NC.T
        self.near_NK = cosines_NN.fill_diagonal_(-2).topk(min(NEAR, len(vectors_NC) - 1), dim=1).indices

    def __call__(self, ids_BT: Tensor, labels_BT: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
        """The ids to read; `rngs` has one generator per sample. What is no HQ code stays."""
        codes_V, ids_N = (each.to(ids_BT.device) for each in (self.vocabulary.id_codes_V, self.vocabulary.code_ids_N))
        codes_BT = codes_V[ids_BT].where(labels_BT != IGNORE, -1)
        length, near = ids_BT.shape[1], self.near_NK.shape[1]
        drawn = [(rng.random() * self.most, rng.random(length), rng.integers(near, size=length)) for rng in rngs]
        wrong_BT = torch.from_numpy(np.stack([uniform < share for share, uniform, _ in drawn])).to(ids_BT.device)
        which_BT = torch.from_numpy(np.stack([which for _, _, which in drawn])).to(ids_BT.device)
        read_BT = ids_N[self.near_NK.to(ids_BT.device)[codes_BT.clamp(min=0), which_BT]]
        return torch.where(wrong_BT & (codes_BT >= 0), read_BT, ids_BT)
