"""What NSARM's stages learn from a batch: losses, and the figures that say how well it goes.

Knows pictures, flips, the frozen tokenizer and the trained network. Knows no Trainer, no draws, no words. NSARM's
training code is not published; what follows is from its figure, its inference code, and the labels' code that came with
it (arXiv 2510.00820), and what is ours says so.

Shape legend: B pictures, H W HQ picture [px], s the model's square [px], D bits of a latent cell, h w a scale's grid of
cells, L tokens of all scales, b bits of a token, K scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_pure.config.bit_tokenizer import Resize
from lit_pure.config.nsarm import PrefixLossesConfig
from lit_pure.families.nsarm.network import NSARMNetwork
from lit_pure.families.nsarm.prefix import PrefixMaker
from lit_pure.families.nsarm.prefix_losses import anchor_loss, bit_accuracy, consistency_loss, residual_loss
from lit_pure.models import bsq
from lit_pure.models.bit_loss import bit_loss, bit_scores, token_weights
from lit_pure.models.packed_text import PackedText

Values = dict[str, Tensor]
"""Figures to log, by name; of scale 3, for example, `bits_3`."""


@dataclass(frozen=True)
class Words:
    """The captions of a batch."""

    text: PackedText
    dropped: Sequence[bool] = ()
    """For each picture, whether learned rows stand in for its caption."""


class Learner:
    """The losses of all stages, for one network and the squares of one schedule."""

    def __init__(
        self, network: NSARMNetwork, prefix: PrefixMaker, losses: PrefixLossesConfig, how: Resize, keep_gradient: bool
    ) -> None:
        """
        Args:
            network: what is trained.
            prefix: with its transformation network and the frozen tokenizer.
            losses: weights.
            how: a sum of codes is brought to the next scale's grid.
            keep_gradient: of scales with flips.
        """
        self.network, self.prefix, self.losses, self.how = network, prefix, losses, how
        self.tokenizer, self.schedule, self.keep_gradient = prefix.tokenizer, prefix.schedule, keep_gradient

    def pretrain(self, hq_B3HW: Tensor, words: Words, flips_BDhw: Sequence[Tensor] = ()) -> tuple[Tensor, Values]:
        """Next-scale prediction of HQ pictures with bitwise self-correction (arXiv 2412.04431); the loss, `bits`."""
        found = bsq.encode_scales(self._features(hq_B3HW), self.schedule.cells, flips_BDhw=flips_BDhw)
        return self._cross_entropy(found, words, 0)

    def stage1(self, hq_B3HW: Tensor, enlarged_B3ss: Tensor) -> tuple[Tensor, Values]:
        """Regression of the HQ picture's residuals on the prefix scales, from the LQ picture; the loss, and bits."""
        features_BDHW, predicted = self._features(hq_B3HW), self.prefix(enlarged_B3ss)
        target = self._target(features_BDHW)
        loss = residual_loss(predicted, target)
        values = {"mse": loss.detach(), **_prefix_bits(predicted, target)}
        return loss + self._consistency(predicted, features_BDHW, values), values

    def stage2(
        self, hq_B3HW: Tensor, enlarged_B3ss: Tensor, words: Words, flips_BDhw: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Values]:
        """End to end: cross entropy on the scales after the predicted prefix, with labels that follow it, and anchor.

        The gradient reaches the transformation network through the codes of the prefix in all later inputs, and in the
        sums that later codes are made of; none of these is detached.
        """
        features_BDHW, predicted = self._features(hq_B3HW), self.prefix(enlarged_B3ss)
        found = bsq.encode_scales(
            features_BDHW,
            self.schedule.cells,
            prefix_BDhw=predicted,
            flips_BDhw=flips_BDhw,
            flips_keep_gradient=self.keep_gradient,
        )
        loss, later = self._cross_entropy(found, words, self.schedule.known)
        target = self._target(features_BDHW)
        values = {f"later_{name}": value for name, value in later.items()} | _prefix_bits(predicted, target)
        if self.prefix.transformation is None:  # nothing to hold on to
            return loss, values
        anchor = anchor_loss(predicted, target, self.losses.anchor)
        values["anchor"] = anchor.detach()
        return loss + anchor + self._consistency(predicted, features_BDHW, values), values

    def _features(self, hq_B3HW: Tensor) -> Tensor:
        return self.tokenizer.encode(hq_B3HW)

    def _target(self, features_BDHW: Tensor) -> list[Tensor]:
        """Residuals of the prefix scales along the clean path."""
        return bsq.encode_scales(features_BDHW, self.schedule.cells).residuals_BDhw[: self.schedule.known]

    def _consistency(self, predicted: Sequence[Tensor], features_BDHW: Tensor, values: Values) -> Tensor:
        if not self.losses.consistency:
            return features_BDHW.new_zeros(())
        loss = consistency_loss(predicted, features_BDHW)
        values["consistency"] = loss.detach()
        return self.losses.consistency * loss

    def _cross_entropy(self, found: bsq.Scales, words: Words, known: int) -> tuple[Tensor, Values]:
        """The weighted loss of a bit of the scales that are not known, and figures of these alone."""
        transformer, schedule = self.network.transformer, self.schedule
        assert transformer is not None
        patch = self.tokenizer.config.patch
        inputs_BMb = bsq.inputs(found.sums_BDHW, schedule.cells, patch, self.how)
        labels_BLb = bsq.labels(found.bits_BDhw, patch)
        logits_BLb2 = transformer(inputs_BMb, words.text, schedule.grids, schedule.frame, words.dropped)
        weight_L = token_weights(schedule.grids, known).to(logits_BLb2.device)
        loss = bit_loss(logits_BLb2, labels_BLb, weight_L)
        start = int((weight_L == 0).sum())
        scores = bit_scores(logits_BLb2[:, start:], labels_BLb[:, start:], schedule.grids[known:])
        values = {"ce": loss.detach(), "bits": scores.bit}
        for scale, (bit, ce) in enumerate(zip(scores.bit_K, scores.loss_K, strict=True), known + 1):
            values |= {f"bits_{scale}": bit, f"ce_{scale}": ce}
        return loss, values


@torch.no_grad()
def _prefix_bits(predicted: Sequence[Tensor], target: Sequence[Tensor]) -> Values:
    """Shares of equal bits: of all of the prefix, and of each scale."""
    accuracy_K = bit_accuracy(predicted, target)
    sizes_K = accuracy_K.new_tensor([each.numel() for each in target])
    values = {"prefix_bits": (accuracy_K * sizes_K).sum() / sizes_K.sum()}
    return values | {f"prefix_bits_{scale}": each for scale, each in enumerate(accuracy_K, 1)}
