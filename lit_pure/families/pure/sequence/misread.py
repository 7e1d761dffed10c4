"""HQ codes that the model reads wrong while it is trained, so that it can live with what it draws itself.

A model that has only ever read true codes trusts its neighbours too much: in its own pictures one wrong code calls for
the next. Labels stay true. NSARM (arXiv 2510.00820) does likewise with bits. Knows sequences, no losses.

Shape legend: B samples, T positions, N codes, C code length, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lit_pure.families.pure.sequence.assemble import IGNORE
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.models.near_codes import NearCodes


class Misreading:
    """Replaces a share of the HQ codes in sequences by codes like them."""

    def __init__(self, vectors_NC: Tensor, vocabulary: Vocabulary, most: float) -> None:
        """`vectors_NC`: the codes' unit vectors; `most`: each sample draws its share of wrong codes up to this."""
        self.vocabulary, self.most, self._near = vocabulary, most, NearCodes(vectors_NC)

    def __call__(self, ids_BT: Tensor, labels_BT: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
        """The ids to read; `rngs` has one generator per sample. What is no HQ code stays."""
        codes_V, ids_N = (each.to(ids_BT.device) for each in (self.vocabulary.id_codes_V, self.vocabulary.code_ids_N))
        codes_BT = codes_V[ids_BT].where(labels_BT != IGNORE, -1)
        wrong_BT, which_BT = self._near.draw((ids_BT.shape[1],), self.most, rngs)
        read_BT = ids_N[self._near.like(codes_BT.clamp(min=0), which_BT)]
        return torch.where(wrong_BT.to(ids_BT.device) & (codes_BT >= 0), read_BT, ids_BT)
