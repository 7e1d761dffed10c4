"""The LightningModule of the visual tokenizer.

Knows its losses, when its adversary is trained, and what is logged. The networks are in `models/`. Without an adversary
Lightning steps the optimizer; with one, two optimizers step after one backward pass, of which Lightning counts the
tokenizer's.

Shape legend: B batch, H W picture [px], h w grid of codes, D code length, N codes, M cells of a batch.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.datasets.order import SHIFT_DRAW
from lit_pure.images.geometry import resize
from lit_pure.images.labels import FROM_LQ_CODES, GROUND_TRUTH, RECONSTRUCTED
from lit_pure.lit.adversary import Adversary, Rebuilt
from lit_pure.lit.data import Batch, DegradeAndScore, Identity, Transform, generators
from lit_pure.lit.photo_pairs import draw_pairs
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.schedule import configure
from lit_pure.lit.scores import Scores
from lit_pure.models import weights
from lit_pure.models.perceptual import FeatureDistance, make_distance
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs.folder import Run


def build(experiment: TokenizerExperiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment. Its batches are as they are, or get LQ pictures for a decoder that sees them."""
    start = weights.load_tokenizer(needs["start"].weights) if "start" in needs else None
    transform = DegradeAndScore(experiment.data.degradation, None) if experiment.pairs.share else Identity()
    return TokenizerModule(experiment, start), transform


class TokenizerModule(RunModule):
    """Trains `VQTokenizer` to reconstruct photographs."""

    uses_N: Tensor

    def __init__(self, config: TokenizerExperiment, start: VQTokenizer | None = None) -> None:
        """
        Args:
            config: of the experiment.
            start: begin with its weights, of the decoder those that fit.

        Raises:
            ValueError: weights of the perceptual loss are missing, or `start` has other sizes.
        """
        super().__init__()
        self.config = config
        self.tokenizer = VQTokenizer(config.vq)
        if start is not None:
            self.tokenizer.start_from(start, config.keep_codes)
        self.scores: Scores = Scores(sorted(config.data.test), ["psnr", "ssim"], [RECONSTRUCTED])
        self._seen_B3HW = torch.empty(0)
        # Part of checkpoints: which codes restart depends on it. The same on all processes.
        self.register_buffer("uses_N", torch.zeros(config.vq.codes, dtype=torch.long))
        # In a list, so that it is no part of checkpoints.
        self._distance: list[nn.Module | None] = [make_distance(config.perceptual.features)]
        self.adversary = Adversary(config.adversarial) if config.adversarial.plays else None
        self.automatic_optimization = self.adversary is None

    def on_fit_start(self) -> None:
        """Move the frozen network to the device."""
        if self._distance[0] is not None:
            self._distance[0].to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """All losses; unused codes restart now and then."""
        rebuilt, loss, parts = self._losses(batch, training=True)
        if self.adversary is not None:
            loss = self._play(self.adversary, rebuilt, batch["hq_B3HW"], loss, parts)
        for name, value in {"loss": loss, **parts}.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss")
        if self.config.vq.restart_every:
            uses_N = rebuilt.codes_Bhw.flatten().bincount(minlength=len(self.uses_N))
            self.uses_N += self.trainer.strategy.reduce(uses_N, reduce_op="sum")
            self._seen_B3HW = batch["hq_B3HW"]
            if self.adversary is not None:
                self._restart_sometimes(self.global_step)
        return loss

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Restart unused codes now and then; after the step, because the step still needs the old ones.

        And before its end, when checkpoints are written.
        """
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self._restart_sometimes(self.global_step + 1)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip gradients where Lightning does not: each optimizer's for itself."""
        limit = self.config.trainer.gradient_clip
        if not self.automatic_optimization and limit:
            torch.nn.utils.clip_grad_norm_(
                [item for group in optimizer.param_groups for item in group["params"]], limit
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and PSNR [dB] of codes alone, and of the LQ picture's own codes in its sight; the first are shown."""
        rebuilt, loss, _ = self._losses(batch, training=False)
        hq_B3HW, codes_Bhw, shown = batch["hq_B3HW"], rebuilt.codes_Bhw, {}
        shown[RECONSTRUCTED] = self.tokenizer.decode(codes_Bhw)
        if "lq_B3hw" in batch:
            photo_B3HW = resize(batch["lq_B3hw"], *hq_B3HW.shape[-2:])
            shown[FROM_LQ_CODES] = self.tokenizer.decode(self.tokenizer.encode(photo_B3HW), photo_B3HW, 1.0)
            self._log_psnr("val/psnr_photo", shown[FROM_LQ_CODES], hq_B3HW)
        self.log("val/loss", loss, batch_size=len(codes_Bhw))
        self._log_psnr("val/psnr", shown[RECONSTRUCTED], hq_B3HW)
        if batch_idx == 0:
            self.shown = {GROUND_TRUTH: hq_B3HW, **shown}

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
        """The tokenizer, without its adversary."""
        if writes:
            weights.save_tokenizer(folder, self.tokenizer)

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine; the adversary has its own."""
        steps, config = self.config.trainer.max_steps, self.config
        own = configure(self.tokenizer.parameters(), config.optim, steps)
        if self.adversary is None:
            return own
        share = config.adversarial.lr / config.optim.lr if config.adversarial.lr else 1.0
        theirs = replace(config.optim, lr=config.optim.lr * share, min_lr=config.optim.min_lr * share)
        return own, configure(self.adversary.parameters(), theirs, steps)

    def _losses(self, batch: Batch, training: bool) -> tuple[Rebuilt, Tensor, dict[str, Tensor]]:
        """What was rebuilt, the loss without an adversary, and its parts."""
        config, hq_B3HW = self.config.vq, batch["hq_B3HW"]
        latents_BhwD, codes_Bhw, codebook_loss, commit_loss = self.tokenizer.quantize(hq_B3HW)
        if training and self.config.pairs.share:
            photo_B3HW = resize(batch["lq_B3hw"], *hq_B3HW.shape[-2:])
            pairs = draw_pairs(self.config, batch, codes_Bhw.shape[1:])
            with torch.no_grad():
                lq_BhwD = self.tokenizer.lookup(self.tokenizer.nearest(self.tokenizer.latents(photo_B3HW)))
            latents_BhwD = torch.where(pairs.from_lq_Bhw[..., None], lq_BhwD, latents_BhwD)
            rebuilt_B3HW = self.tokenizer.render(latents_BhwD, photo_B3HW, pairs.fidelity_B).float()
        else:
            rebuilt_B3HW = self.tokenizer.render(latents_BhwD).float()
        # The weights are meant for pixels in [-1, 1], twice as wide as ours.
        error_B3HW = 2 * (rebuilt_B3HW - hq_B3HW)
        parts = {"l1": error_B3HW.abs().mean(), "l2": error_B3HW.square().mean(), "codebook": codebook_loss}
        loss = config.l1_weight * parts["l1"] + config.l2_weight * parts["l2"]
        if not self.config.keep_codes:
            loss = loss + codebook_loss + config.commit_weight * commit_loss
        features = None
        if (distance := self._distance[0]) is not None:
            with torch.autocast(self.device.type, enabled=False):
                if isinstance(distance, FeatureDistance):
                    top, left = _draw_shift(self.config.seed, batch) if training else (0, 0)
                    shifted = [image_B3HW[..., top:, left:] for image_B3HW in (rebuilt_B3HW, hq_B3HW)]
                    features = distance.network.features(shifted[0]), distance.features(shifted[1])
                    parts["perceptual"] = distance.between(*features)
                else:
                    parts["perceptual"] = distance(rebuilt_B3HW, hq_B3HW)
            loss = loss + self.config.perceptual.weight * parts["perceptual"]
        return Rebuilt(rebuilt_B3HW, codes_Bhw, features), loss, parts

    def _play(
        self, adversary: Adversary, rebuilt: Rebuilt, true_B3HW: Tensor, loss: Tensor, parts: dict[str, Tensor]
    ) -> Tensor:
        """One step of both sides; returns the tokenizer's loss."""
        reduce = self.trainer.strategy.reduce
        convincing, judging, found = adversary.losses(rebuilt, true_B3HW, lambda mean: reduce(mean, reduce_op="mean"))
        parts |= found
        if self.global_step >= self.config.adversarial.start:
            loss = loss + convincing
        # One backward pass: neither loss has a gradient for the other side's weights.
        self.manual_backward(loss + judging)
        own, judges = self.optimizers()  # type: ignore[attr-defined]
        self._step_uncounted(judges)
        own.step()
        for each in (own, judges):
            each.zero_grad()
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()
        return loss.detach()

    def _step_uncounted(self, optimizer: LightningOptimizer) -> None:
        """Step past Lightning's counter: a step of the run is one of the tokenizer."""
        self.trainer.strategy.optimizer_step(optimizer.optimizer, lambda: None, self)

    def _log_psnr(self, name: str, made_B3HW: Tensor, true_B3HW: Tensor) -> None:
        error_B = (made_B3HW - true_B3HW).square().flatten(1).mean(1)
        mean = (-10 * error_B.clamp_min(1e-10).log10()).mean()
        self.log(name, mean, batch_size=len(error_B), prog_bar=True)

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


SHIFT = 8
"""Up to how far pictures are shifted before a network with strides sees them [px]: unshifted, it leaves its lattice."""


def _draw_shift(seed: int, batch: Batch) -> tuple[int, int]:
    """Rows and columns to cut off at the top and at the left, the same for all pictures of a batch."""
    rng = generators(seed, batch, SHIFT_DRAW)[0]
    top, left = rng.integers(0, SHIFT, 2).tolist()
    return top, left
