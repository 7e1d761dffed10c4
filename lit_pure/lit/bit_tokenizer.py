"""The LightningModule of the bitwise multi-scale tokenizer.

Knows what bits cost, and that scales may be left out in training. Losses of pictures and the adversary are
`autoencoder.py`'s. The training of the published tokenizers is not published; the losses are ours.

Shape legend: B batch, H W picture [px], K scales.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.bit_tokenizer import BitTokenizerExperiment
from lit_pure.datasets.order import SCALE_DRAW
from lit_pure.lit.adversary import Rebuilt
from lit_pure.lit.autoencoder import AutoencoderModule, Losses, pixel_losses
from lit_pure.lit.data import Batch, Identity, Transform, torch_generators
from lit_pure.lit.run_module import RunModule
from lit_pure.models import weights
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.bsq import draw_kept
from lit_pure.runs.folder import Run


def build(experiment: BitTokenizerExperiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment; its batches are as they are."""
    start = weights.load_bit_tokenizer(needs["start"].weights) if "start" in needs else None
    return BitTokenizerModule(experiment, start), Identity()


class BitTokenizerModule(AutoencoderModule):
    """Trains `BitTokenizer` to reconstruct photographs."""

    config: BitTokenizerExperiment
    tokenizer: BitTokenizer

    def __init__(self, config: BitTokenizerExperiment, start: BitTokenizer | None = None) -> None:
        """
        Args:
            config: of the experiment.
            start: begin with its weights.

        Raises:
            ValueError: weights of the perceptual loss are missing, or `start` has other sizes.
        """
        super().__init__(config, BitTokenizer(config.bsq))
        if start is not None:
            self.tokenizer.start_from(start)

    def save_weights(self, folder: Path, writes: bool) -> None:
        """The tokenizer, without its adversary."""
        if writes:
            weights.save_bit_tokenizer(folder, self.tokenizer)

    def _reconstruct(self, hq_B3HW: Tensor) -> Tensor:
        grids = self.tokenizer.grids(*hq_B3HW.shape[-2:])
        return self.tokenizer.decode_bits(self.tokenizer.bits(self.tokenizer.encode(hq_B3HW), grids), grids[-1])

    def _losses(self, batch: Batch, training: bool) -> Losses:
        config, hq_B3HW, kept_BK = self.config.bsq, batch["hq_B3HW"], None
        grids = self.tokenizer.grids(*hq_B3HW.shape[-2:])
        if training and config.scale_dropout:
            rngs = torch_generators(self.config.seed, batch, SCALE_DRAW)
            kept = [draw_kept(1, len(grids), config.scale_dropout, rng) for rng in rngs]
            kept_BK = torch.cat(kept).to(hq_B3HW.device)
        image_B3HW, found = self.tokenizer(hq_B3HW, grids, kept_BK)
        rebuilt_B3HW = image_B3HW.float()
        parts = {**pixel_losses(rebuilt_B3HW, hq_B3HW), "commit": found.commit_loss}
        loss = config.l1_weight * parts["l1"] + config.l2_weight * parts["l2"]
        loss = loss + config.commit_weight * found.commit_loss
        loss, features = self._add_perceptual(rebuilt_B3HW, batch, training, loss, parts)
        return Rebuilt(rebuilt_B3HW, None, features), loss, parts
