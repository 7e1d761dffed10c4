"""The adversary of a tokenizer: a PatchGAN, its hinge loss, and LeCam's regularisation.

Knows pictures in [-1, 1] and scores of patches. Knows nothing of when it is trained.

Shape legend: B pictures, H W picture [px], h w grid of patches, C channels.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from lit_pure.config.tokenizer import AdversarialConfig


class PatchDiscriminator(nn.Module):
    """pix2pix's PatchGAN (arXiv 1611.07004): each score sees a patch, 70 px wide with three layers.

    `norm: batch` is the published one, as in LlamaGen; `spectral` needs no statistics of a batch (arXiv 1802.05957).
    """

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        widths = [config.channels * min(2**level, 8) for level in range(config.layers + 1)]
        first, last = nn.Conv2d(3, widths[0], 4, stride=2, padding=1), nn.Conv2d(widths[-1], 1, 4, padding=1)
        if config.norm == "spectral":  # of all layers, so that no picture has an unbounded gradient
            first, last = spectral_norm(first), spectral_norm(last)
        layers: list[nn.Module] = [first, nn.LeakyReLU(0.2)]
        for level in range(1, config.layers + 1):
            stride = 2 if level < config.layers else 1
            layers += [*_convolution(widths[level - 1], widths[level], stride, config.norm), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, last)
        # Weights of the published implementations.
        for part in self.modules():
            if isinstance(part, nn.Conv2d) and config.norm == "batch":
                nn.init.normal_(part.weight, 0, 0.02)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1, 0.02)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Scores (B, 1, h, w), high for pictures that look real."""
        return self.layers(image_B3HW)

    def judge(self, image_B3HW: Tensor) -> Tensor:
        """The same scores, for who made the picture: the gradient passes to the picture, not to these weights."""
        frozen = {name: item.detach() for name, item in self.named_parameters()}
        scores_B1hw: Tensor = functional_call(self, frozen, image_B3HW)
        return scores_B1hw


def _convolution(channels_in: int, channels_out: int, stride: int, norm: str) -> list[nn.Module]:
    made = nn.Conv2d(channels_in, channels_out, 4, stride=stride, padding=1, bias=norm != "batch")
    return [made, nn.BatchNorm2d(channels_out)] if norm == "batch" else [spectral_norm(made)]


def hinge_loss(real_B1hw: Tensor, fake_B1hw: Tensor) -> Tensor:
    """The discriminator's loss (arXiv 1705.02894): 0 once real scores exceed 1 and made ones are below -1."""
    return (F.relu(1 - real_B1hw).mean() + F.relu(1 + fake_B1hw).mean()) / 2


class LeCam(nn.Module):
    """LeCam's regularisation (arXiv 2104.03310): real scores stay near the made ones' running mean, and vice versa."""

    means_2: Tensor

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("means_2", torch.zeros(2))

    def forward(self, real_B1hw: Tensor, fake_B1hw: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """The loss, without weight; `reduce` takes the mean of a tensor over all processes."""
        found_2 = reduce(torch.stack([real_B1hw.mean(), fake_B1hw.mean()]).detach().float())
        self.means_2.lerp_(found_2, 1 - self.decay)
        real_mean, fake_mean = self.means_2.clone()
        return F.relu(real_B1hw - fake_mean).square().mean() + F.relu(real_mean - fake_B1hw).square().mean()
