"""The LightningModule of a visual tokenizer, whatever its codes are: losses of pictures, adversary, test.

Knows how pictures are compared, when the adversary is trained, and what is logged. What becomes of a picture between
encoder and decoder, and what that costs, is for `tokenizer.py` and `bit_tokenizer.py`. Without an adversary Lightning
steps the optimizer; with one, two optimizers step after one backward pass, of which Lightning counts the tokenizer's.

Shape legend: B batch, H W picture [px].
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from lit_pure.config.tokenizer import AutoencoderExperiment
from lit_pure.datasets.order import SHIFT_DRAW
from lit_pure.images.labels import GROUND_TRUTH, RECONSTRUCTED
from lit_pure.lit.adversary import Adversary, Rebuilt
from lit_pure.lit.data import Batch, generators
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.schedule import configure
from lit_pure.lit.scores import Scores
from lit_pure.models.perceptual import FeatureDistance, make_distance

Losses = tuple[Rebuilt, Tensor, dict[str, Tensor]]
"""What was rebuilt, the loss without an adversary, and its parts."""
CLIP: dict[str, Callable[..., Any]] = {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}
"""What clips gradients, by `trainer.gradient_clip_algorithm`."""
Features = tuple[list[Tensor], list[Tensor]]
"""Of the rebuilt and of the true picture."""


class AutoencoderModule(RunModule):
    """Trains `tokenizer` to reconstruct photographs."""

    config: AutoencoderExperiment
    tokenizer: nn.Module

    def __init__(self, config: AutoencoderExperiment, tokenizer: nn.Module) -> None:
        """Raises ValueError if weights of the perceptual loss are missing."""
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.scores: Scores = Scores(sorted(config.data.test), ["psnr", "ssim"], [RECONSTRUCTED])
        # In a list, so that it is no part of checkpoints.
        self._distance: list[nn.Module | None] = [make_distance(config.perceptual.features)]
        self.adversary = Adversary(config.adversarial) if config.adversarial.plays else None
        self.automatic_optimization = self.adversary is None

    @abstractmethod
    def _losses(self, batch: Batch, training: bool) -> Losses:
        """Rebuild the pictures of a batch and compare."""

    @abstractmethod
    def _reconstruct(self, hq_B3HW: Tensor) -> Tensor:
        """The pictures by their codes alone, in [0, 1], without gradient."""

    def on_fit_start(self) -> None:
        """Move the frozen network to the device."""
        if self._distance[0] is not None:
            self._distance[0].to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """All losses."""
        rebuilt, loss, parts = self._losses(batch, training=True)
        if self.adversary is not None:
            loss = self._play(self.adversary, rebuilt, batch["hq_B3HW"], loss, parts)
        for name, value in {"loss": loss, **parts}.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss")
        self._after_step(rebuilt, batch)
        return loss

    def _after_step(self, rebuilt: Rebuilt, batch: Batch) -> None:
        """What else a training step does."""

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip gradients where Lightning does not: each optimizer's for itself."""
        trainer = self.config.trainer
        if not self.automatic_optimization and trainer.gradient_clip:
            clip = CLIP[trainer.gradient_clip_algorithm]
            clip([item for group in optimizer.param_groups for item in group["params"]], trainer.gradient_clip)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and PSNR [dB] of codes alone; the first pictures are shown."""
        _, loss, _ = self._losses(batch, training=False)
        rebuilt_B3HW = self._reconstruct(batch["hq_B3HW"])
        self.log("val/loss", loss, batch_size=len(rebuilt_B3HW))
        self._log_psnr("val/psnr", rebuilt_B3HW, batch["hq_B3HW"])
        if batch_idx == 0:
            self.shown = {GROUND_TRUTH: batch["hq_B3HW"], RECONSTRUCTED: rebuilt_B3HW}

    def on_test_start(self) -> None:
        """A test begins anew."""
        self.scores.reset()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """PSNR and SSIM of the reconstruction (table 1)."""
        rebuilt_B3HW = self._reconstruct(batch["hq_B3HW"])
        self.scores.update(dataloader_idx, RECONSTRUCTED, rebuilt_B3HW, batch)
        self.shown = {GROUND_TRUTH: batch["hq_B3HW"], RECONSTRUCTED: rebuilt_B3HW}

    def on_test_epoch_end(self) -> None:
        """Log the means, which are the same on all processes; averaging them over these changes nothing."""
        self.log_dict(self.scores.compute(), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine; the adversary has its own."""
        steps, config = self.planned_steps, self.config
        own = configure(self.tokenizer.parameters(), config.optim, steps)
        if self.adversary is None:
            return own
        share = config.adversarial.lr / config.optim.lr if config.adversarial.lr else 1.0
        theirs = replace(config.optim, lr=config.optim.lr * share, min_lr=config.optim.min_lr * share)
        return own, configure(self.adversary.parameters(), theirs, steps)

    def _add_perceptual(
        self, rebuilt_B3HW: Tensor, batch: Batch, training: bool, loss: Tensor, parts: dict[str, Tensor]
    ) -> tuple[Tensor, Features | None]:
        """The loss with the perceptual one, which becomes one of its parts, and the features that it compared."""
        features, true_B3HW = None, batch["hq_B3HW"]
        if (distance := self._distance[0]) is None:
            return loss, features
        with torch.autocast(self.device.type, enabled=False):
            if isinstance(distance, FeatureDistance):
                seen = _draw_part(self.config.seed, batch) if training else (..., slice(None), slice(None))
                features = distance.network.features(rebuilt_B3HW[seen]), distance.features(true_B3HW[seen])
                parts["perceptual"] = distance.between(*features)
            else:
                parts["perceptual"] = distance(rebuilt_B3HW, true_B3HW)
        return loss + self.config.perceptual.weight * parts["perceptual"], features

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
        mean = psnr(made_B3HW, true_B3HW).mean()
        self.log(name, mean, batch_size=len(made_B3HW), prog_bar=True)


def pixel_losses(rebuilt_B3HW: Tensor, true_B3HW: Tensor) -> dict[str, Tensor]:
    """Mean absolute and mean squared error, `l1` and `l2`, of pixels in [-1, 1], which published weights are for."""
    error_B3HW = 2 * (rebuilt_B3HW - true_B3HW)
    return {"l1": error_B3HW.abs().mean(), "l2": error_B3HW.square().mean()}


def psnr(made_B3HW: Tensor, true_B3HW: Tensor) -> Tensor:
    """(B,) [dB], at most 100."""
    error_B = (made_B3HW - true_B3HW).square().flatten(1).mean(1)
    return -10 * error_B.clamp_min(1e-10).log10()


SHIFT = 8
"""Up to how far pictures are shifted before a network with strides sees them [px]: unshifted, it leaves its lattice."""


def _draw_part(seed: int, batch: Batch) -> tuple[Any, slice, slice]:
    """Rows and columns that the network sees, the same of all pictures of a batch.

    Always as many of them: a GPU's library plans each convolution anew for each new size, which takes seconds.
    """
    height, width = batch["hq_B3HW"].shape[-2:]
    top, left = generators(seed, batch, SHIFT_DRAW)[0].integers(0, SHIFT, 2).tolist()
    return ..., slice(top, top + height - SHIFT + 1), slice(left, left + width - SHIFT + 1)
