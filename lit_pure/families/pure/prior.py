"""What a picture's codes are expected to be before anything is read: those of the LQ picture, or ones like them.

Knows the tokenizer's unit vectors, and which label is which cell. How the head weighs it is `models/next_token.py`'s.

Shape legend: B pictures, M cells of a batch, C code length, N label positions or codes, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_pure.families.pure.sequence.assemble import Sample
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.models.next_token import Prior
from lit_pure.models.vq import VQTokenizer


@dataclass(frozen=True)
class ExpectedCodes:
    """For sampling: what is expected in each cell of each picture."""

    expected_BMC: Tensor
    """Unit vectors of the LQ codes, in raster order."""
    vectors_NC: Tensor
    """Unit vectors of all codes."""

    def cosines(self, cells_BP: Tensor) -> Tensor:
        """The cosines (B, P, N) of all codes to what is expected in these cells."""
        rows_B1 = torch.arange(len(cells_BP), device=cells_BP.device)[:, None]
        return self.expected_BMC[rows_B1, cells_BP] @ self.vectors_NC.T


class LQPrior:
    """The prior of one tokenizer's codes in one vocabulary."""

    def __init__(self, tokenizer: VQTokenizer, vocabulary: Vocabulary) -> None:
        self.tokenizer, self._vocabulary, self._vectors_VC = tokenizer, vocabulary, torch.empty(0)

    def expect(self, samples: Sequence[Sample], image_N: Tensor) -> Prior:
        """For training, at the labels of a batch.

        `image_N`: which labels are codes. They are those of all cells, sample by sample, in raster order.
        """
        lq_codes_M = torch.cat([sample.lq_codes_hw.flatten() for sample in samples])
        vectors_VC = self._vectors(image_N.device)
        expected_NC = vectors_VC.new_zeros(len(image_N), vectors_VC.shape[1])
        expected_NC[image_N] = self.tokenizer.lookup(lq_codes_M.to(image_N.device))
        return Prior(expected_NC, vectors_VC)

    def of_cells(self, lq_codes_BM: Tensor) -> ExpectedCodes:
        """For sampling, from the LQ codes of all cells in raster order."""
        device = self.tokenizer.codebook_ND.device
        vectors_NC = self.tokenizer.lookup(torch.arange(self._vocabulary.codes, device=device))
        return ExpectedCodes(self.tokenizer.lookup(lq_codes_BM.to(device)), vectors_NC)

    def _vectors(self, device: torch.device) -> Tensor:
        """The unit vectors of all ids (V, C); zeros for those that are no codes."""
        if self._vectors_VC.device != device or not len(self._vectors_VC):
            codes_N = torch.arange(self._vocabulary.codes, device=self.tokenizer.codebook_ND.device)
            vectors_NC = self.tokenizer.lookup(codes_N).to(device)
            self._vectors_VC = vectors_NC.new_zeros(self._vocabulary.size, vectors_NC.shape[1])
            self._vectors_VC[self._vocabulary.code_ids_N.to(device)] = vectors_NC
        return self._vectors_VC
