"""The LightningModule of the visual tokenizer.

Knows its losses and what is logged. The network is in `models/vq.py`. LlamaGen's own training adds a perceptual (LPIPS)
and an adversarial loss, which this one does not have.

Shape legend: B batch, H W picture [px], h w grid of codes, N codes, M cells of a batch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.images.labels import GROUND_TRUTH, RECONSTRUCTED
from lit_pure.lit.data import Batch, Identity, Transform
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.schedule import configure
from lit_pure.lit.scores import Scores
from lit_pure.models import weights
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs.folder import Run


def build(experiment: TokenizerExperiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment; its batches are as they are."""
    return TokenizerModule(experiment), Identity()


class TokenizerModule(RunModule):
    """Trains `VQTokenizer` to reconstruct photographs."""

    uses_N: Tensor

    def __init__(self, config: TokenizerExperiment) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = VQTokenizer(config.vq)
        self.scores: Scores = Scores(sorted(config.data.test), ["psnr", "ssim"], [RECONSTRUCTED])
        self._seen_B3HW = torch.empty(0)
        # Part of checkpoints: which codes restart depends on it. The same on all processes.
        self.register_buffer("uses_N", torch.zeros(config.vq.codes, dtype=torch.long))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Pixel, codebook and commitment loss; unused codes restart now and then."""
        loss, parts, codes_Bhw = self._losses(batch["hq_B3HW"])
        for name, value in {"loss": loss, **parts}.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss")
        if self.config.vq.restart_every:
            uses_N = codes_Bhw.flatten().bincount(minlength=len(self.uses_N))
            self.uses_N += self.trainer.strategy.reduce(uses_N, reduce_op="sum")
            self._seen_B3HW = batch["hq_B3HW"]
        return loss

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Restart unused codes now and then; after the step, because the step still needs the old ones.

        And before its end, when checkpoints are written.
        """
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        every, steps = self.config.vq.restart_every, self.global_step + 1
        if every and steps % every == 0:
            self._restart(self._seen_B3HW, steps)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and reconstruction PSNR [dB]; the first pictures are shown."""
        loss, _, codes_Bhw = self._losses(batch["hq_B3HW"])
        rebuilt_B3HW = self.tokenizer.decode(codes_Bhw)
        error_B = (rebuilt_B3HW - batch["hq_B3HW"]).square().flatten(1).mean(1)
        self.log("val/loss", loss, batch_size=len(codes_Bhw))
        self.log("val/psnr", (-10 * error_B.clamp_min(1e-10).log10()).mean(), batch_size=len(codes_Bhw), prog_bar=True)
        if batch_idx == 0:
            self.shown = {GROUND_TRUTH: batch["hq_B3HW"], RECONSTRUCTED: rebuilt_B3HW}

    def on_test_start(self) -> None:
        """A test begins anew."""
        self.scores.reset()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """PSNR and SSIM of the reconstruction (table 1)."""
        rebuilt_B3HW = self.tokenizer.decode(self.tokenizer.encode(batch["hq_B3HW"]))
        self.scores.update(dataloader_idx, RECONSTRUCTED, rebuilt_B3HW, batch)
        self.shown = {GROUND_TRUTH: batch["hq_B3HW"], RECONSTRUCTED: rebuilt_B3HW}

    def on_test_epoch_end(self) -> None:
        """Log the means, which are the same on all processes; averaging them over these changes nothing."""
        self.log_dict(self.scores.compute(), sync_dist=True)

    def save_weights(self, folder: Path, writes: bool) -> None:
        """The tokenizer."""
        if writes:
            weights.save_tokenizer(folder, self.tokenizer)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, warm-up, cosine."""
        return configure(self.parameters(), self.config.optim, self.config.trainer.max_steps)

    def _losses(self, hq_B3HW: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        config = self.config.vq
        rebuilt_B3HW, codes_Bhw, codebook_loss, commit_loss = self.tokenizer(hq_B3HW)
        # The weights are meant for pixels in [-1, 1], twice as wide as ours.
        error_B3HW = 2 * (rebuilt_B3HW - hq_B3HW)
        parts = {"l1": error_B3HW.abs().mean(), "l2": error_B3HW.square().mean(), "codebook": codebook_loss}
        pixels = config.l1_weight * parts["l1"] + config.l2_weight * parts["l2"]
        return pixels + codebook_loss + config.commit_weight * commit_loss, parts, codes_Bhw

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
