"""What a tokenizer is trained against: discriminators of pixels, of features, or both.

Knows what each of them sees of a batch, and the losses of both sides. Knows nothing of optimizers, or of when the
tokenizer has to convince them.

Shape legend: B batch, H W picture [px], h w grid of codes or patches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lit_pure.config.tokenizer import AdversarialConfig
from lit_pure.models.discriminator import (
    Discriminator,
    FeatureDiscriminator,
    LeCam,
    PatchDiscriminator,
    detail_of,
    hinge_loss,
    mean_score,
    told_apart,
)
from lit_pure.models.efficientnet import CHANNELS

JUDGED = 4
"""Strides of EfficientNet whose features are judged: 2 to 16 px; what lies beyond is content, not texture."""


@dataclass(frozen=True)
class Rebuilt:
    """What came of a batch."""

    image_B3HW: Tensor
    codes_Bhw: Tensor | None = None
    """Where there is a codebook."""
    features: tuple[list[Tensor], list[Tensor]] | None = None
    """Of the rebuilt and of the true picture, where the perceptual loss compares EfficientNet's."""


class Adversary(nn.Module):
    """All discriminators of a training, and the running means of their scores."""

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        self.config = config
        players: dict[str, Discriminator] = {}
        if config.weight:
            players["pixels"] = PatchDiscriminator(config)
        if config.feature_weight:
            players["features"] = FeatureDiscriminator(CHANNELS[:JUDGED], config)
        self.players = nn.ModuleDict(players)
        self.lecam = nn.ModuleDict({name: LeCam() for name in players} if config.lecam else {})

    def losses(
        self, rebuilt: Rebuilt, true_B3HW: Tensor, reduce: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """
        Args:
            rebuilt: by the tokenizer.
            true_B3HW: in [0, 1].
            reduce: takes the mean of a tensor over all processes.

        Returns:
            The tokenizer's loss, with weights, and the discriminators', neither of which has a gradient for the other
            side; and what is logged: what the tokenizer is told, the hinge loss, the share of patches told apart.
        """
        convincing, judging = torch.zeros(2, device=true_B3HW.device)
        found: dict[str, Tensor] = {}
        for name, judge in self.players.items():
            assert isinstance(judge, Discriminator)
            made, unchanged, true = self._what_it_sees(judge, rebuilt, true_B3HW)
            score = mean_score(judge.judge(made))
            convincing = convincing - self._weight(name) * score
            real, fake = judge(true), judge(unchanged)
            hinge = hinge_loss(real, fake)
            judging = judging + hinge
            if name in self.lecam:
                judging = judging + self.config.lecam * self.lecam[name](real, fake, reduce)
            found |= {f"score_{name}": score, f"hinge_{name}": hinge, f"told_apart_{name}": told_apart(real, fake)}
        return convincing, self.config.discriminator_weight * judging, found

    def _weight(self, name: str) -> float:
        return self.config.weight if name == "pixels" else self.config.feature_weight

    def _what_it_sees(self, judge: Discriminator, rebuilt: Rebuilt, true_B3HW: Tensor) -> tuple[Any, Any, Any]:
        """The made picture, the same without a gradient, and the true one, as a discriminator sees them."""
        if isinstance(judge, FeatureDiscriminator):
            assert rebuilt.features is not None
            made, true = (levels[:JUDGED] for levels in rebuilt.features)
            return made, [level_BChw.detach() for level_BChw in made], true
        # A made picture is judged as it would be shown: beyond black and white there is nothing to gain.
        made_B3HW, true_B3HW = rebuilt.image_B3HW.clamp(0, 1) * 2 - 1, true_B3HW * 2 - 1
        if self.config.sees == "detail":
            made_B3HW, true_B3HW = detail_of(made_B3HW), detail_of(true_B3HW)
        return made_B3HW, made_B3HW.detach(), true_B3HW
