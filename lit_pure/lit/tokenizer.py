"""The LightningModule of the visual tokenizer with a codebook.

Knows what codes cost, when unused ones restart, and how a decoder learns to see the photograph. Losses of pictures and
the adversary are `autoencoder.py`'s.

Shape legend: B batch, H W picture [px], h w grid of codes, D code length, N codes, M cells of a batch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.datasets.order import MISREAD_DRAW
from lit_pure.images.geometry import resize
from lit_pure.images.labels import FROM_LQ_CODES
from lit_pure.lit.adversary import Rebuilt
from lit_pure.lit.autoencoder import AutoencoderModule, Losses, pixel_losses
from lit_pure.lit.data import Batch, DegradeAndScore, Identity, Transform, generators
from lit_pure.lit.photo_pairs import draw_pairs
from lit_pure.lit.run_module import RunModule
from lit_pure.models import weights
from lit_pure.models.near_codes import NearCodes
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs.folder import Run


def build(experiment: TokenizerExperiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment. Its batches are as they are, or get LQ pictures for a decoder that sees them."""
    start = weights.load_tokenizer(needs["start"].weights) if "start" in needs else None
    transform = DegradeAndScore(experiment.data.degradation, None) if experiment.pairs.share else Identity()
    return TokenizerModule(experiment, start), transform


class TokenizerModule(AutoencoderModule):
    """Trains `VQTokenizer` to reconstruct photographs."""

    config: TokenizerExperiment
    tokenizer: VQTokenizer
    uses_N: Tensor

    def __init__(self, config: TokenizerExperiment, start: VQTokenizer | None = None) -> None:
        """
        Args:
            config: of the experiment.
            start: begin with its weights, of the decoder those that fit.

        Raises:
            ValueError: weights of the perceptual loss are missing, or `start` has other sizes.
        """
        super().__init__(config, VQTokenizer(config.vq))
        if start is not None:
            self.tokenizer.start_from(start, config.keep_codes)
        self._seen_B3HW = torch.empty(0)
        self._near: NearCodes | None = None
        # Part of checkpoints: which codes restart depends on it. The same on all processes.
        self.register_buffer("uses_N", torch.zeros(config.vq.codes, dtype=torch.long))

    def _after_step(self, rebuilt: Rebuilt, batch: Batch) -> None:
        """Count which codes are used; unused ones restart now and then."""
        if self.config.vq.restart_every:
            assert rebuilt.codes_Bhw is not None
            uses_N = rebuilt.codes_Bhw.flatten().bincount(minlength=len(self.uses_N))
            self.uses_N += self.trainer.strategy.reduce(uses_N, reduce_op="sum")
            self._seen_B3HW = batch["hq_B3HW"]
            if self.adversary is not None:
                self._restart_sometimes(self.global_step)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Restart unused codes now and then; after the step, because the step still needs the old ones.

        And before its end, when checkpoints are written.
        """
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self._restart_sometimes(self.global_step + 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and PSNR [dB] of codes alone, and of the LQ picture's own codes in its sight; the first are shown."""
        super().validation_step(batch, batch_idx)
        if "lq_B3hw" in batch:
            photo_B3HW = resize(batch["lq_B3hw"], *batch["hq_B3HW"].shape[-2:])
            seen_B3HW = self.tokenizer.decode(self.tokenizer.encode(photo_B3HW), photo_B3HW, 1.0)
            self._log_psnr("val/psnr_photo", seen_B3HW, batch["hq_B3HW"])
            if batch_idx == 0:
                self.shown[FROM_LQ_CODES] = seen_B3HW

    def save_weights(self, folder: Path, writes: bool) -> None:
        """The tokenizer, without its adversary."""
        if writes:
            weights.save_tokenizer(folder, self.tokenizer)

    def _reconstruct(self, hq_B3HW: Tensor) -> Tensor:
        return self.tokenizer.decode(self.tokenizer.encode(hq_B3HW))

    def _losses(self, batch: Batch, training: bool) -> Losses:
        config, hq_B3HW = self.config.vq, batch["hq_B3HW"]
        latents_BhwD, codes_Bhw, codebook_loss, commit_loss = self.tokenizer.quantize(hq_B3HW)
        if training and self.config.pairs.share:
            photo_B3HW = resize(batch["lq_B3hw"], *hq_B3HW.shape[-2:])
            pairs = draw_pairs(self.config, batch, codes_Bhw.shape[1:])
            with torch.no_grad():
                lq_codes_Bhw = self.tokenizer.nearest(self.tokenizer.latents(photo_B3HW))
                given_Bhw = torch.where(pairs.from_lq_Bhw, lq_codes_Bhw, codes_Bhw)
                read_Bhw = self._misread(given_Bhw, pairs.seen_B, batch)
                changed_Bhw, read_BhwD = pairs.from_lq_Bhw | (read_Bhw != given_Bhw), self.tokenizer.lookup(read_Bhw)
            latents_BhwD = torch.where(changed_Bhw[..., None], read_BhwD, latents_BhwD)
            rebuilt_B3HW = self.tokenizer.render(latents_BhwD, photo_B3HW, pairs.fidelity_B).float()
        else:
            rebuilt_B3HW = self.tokenizer.render(latents_BhwD).float()
        parts = {**pixel_losses(rebuilt_B3HW, hq_B3HW), "codebook": codebook_loss}
        loss = config.l1_weight * parts["l1"] + config.l2_weight * parts["l2"]
        if not self.config.keep_codes:
            loss = loss + codebook_loss + config.commit_weight * commit_loss
        loss, features = self._add_perceptual(rebuilt_B3HW, batch, training, loss, parts)
        return Rebuilt(rebuilt_B3HW, codes_Bhw, features), loss, parts

    def _misread(self, codes_Bhw: Tensor, seen_B: Tensor, batch: Batch) -> Tensor:
        """The codes, some of them read as codes like them where the photograph is seen."""
        if not (most := self.config.pairs.misread):
            return codes_Bhw
        if self._near is None:  # codes are kept
            self._near = NearCodes(self.tokenizer.lookup(torch.arange(self.config.vq.codes, device=codes_Bhw.device)))
        rngs = generators(self.config.seed, batch, MISREAD_DRAW)
        wrong_Bhw, which_Bhw = self._near.draw(tuple(codes_Bhw.shape[1:]), most, rngs)
        wrong_Bhw = wrong_Bhw.to(codes_Bhw.device) & seen_B[:, None, None]
        return torch.where(wrong_Bhw, self._near.like(codes_Bhw, which_Bhw), codes_Bhw)

    def _restart_sometimes(self, steps: int) -> None:
        """`steps`: finished ones."""
        if (every := self.config.vq.restart_every) and steps % every == 0:
            self._restart(self._seen_B3HW, steps)

    @torch.no_grad()
    def _restart(self, hq_B3HW: Tensor, steps: int) -> None:
        """Move codes that no picture used since the last look onto encoder outputs of this batch, of all processes."""
        unused_N = self.uses_N == 0
        self.log("train/code_usage", 1 - unused_N.float().mean())
        gathered = self.all_gather(self.tokenizer.latents(hq_B3HW))
        assert isinstance(gathered, Tensor)
        latents_MD = gathered.flatten(0, -2)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + steps)
        self.tokenizer.restart(unused_N, latents_MD, generator)
        self.uses_N.zero_()
