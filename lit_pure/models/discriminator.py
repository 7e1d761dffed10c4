"""The adversaries of a tokenizer, the hinge loss, and LeCam's regularisation.

Knows pictures in [-1, 1] or their features, and scores of patches. Knows nothing of when an adversary is trained, or of
where features come from.

Shape legend: B pictures, H W picture [px], h w grid of patches, C channels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from lit_pure.config.tokenizer import AdversarialConfig

Scores = list[Tensor]
"""Maps (B, 1, h, w) of scores."""


class Discriminator(nn.Module):
    """Scores patches, high where they look real; what it looks at is its kind's."""

    def judge(self, seen: Any) -> Scores:
        """The same scores, for who made what is seen: the gradient passes to that, not to these weights."""
        frozen = {name: item.detach() for name, item in self.named_parameters()}
        scores: Scores = functional_call(self, frozen, (seen,))
        return scores


class PatchDiscriminator(Discriminator):
    """pix2pix's PatchGAN (arXiv 1611.07004): each score sees a patch, 70 px wide with three layers.

    `norm: batch` is the published one, as in LlamaGen; `spectral` needs no statistics of a batch (arXiv 1802.05957).
    """

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        widths = [config.channels * min(2**level, 8) for level in range(config.layers + 1)]
        first: nn.Module = nn.Conv2d(3, widths[0], 4, stride=2, padding=1)
        last: nn.Module = nn.Conv2d(widths[-1], 1, 4, padding=1)
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

    def forward(self, image_B3HW: Tensor) -> Scores:
        """One map (B, 1, h, w) for pictures in [-1, 1]."""
        return [self.layers(image_B3HW)]


def detail_of(image_B3HW: Tensor) -> Tensor:
    """What a binomial low-pass filter of 5 px leaves out of a picture."""
    kernel = torch.tensor([1, 4, 6, 4, 1], dtype=image_B3HW.dtype, device=image_B3HW.device).div(16).expand(3, 1, 1, 5)
    padded_B3HW = F.pad(image_B3HW, (2, 2, 2, 2), mode="reflect")
    return image_B3HW - F.conv2d(F.conv2d(padded_B3HW, kernel, groups=3), kernel.mT, groups=3)


class FeatureDiscriminator(Discriminator):
    """Heads on the features of a frozen network, one for each of its strides (Projected GANs, arXiv 2111.01007).

    What it looks for need not be learned first, so it teaches from the first steps on.
    """

    def __init__(self, features: Sequence[int], config: AdversarialConfig) -> None:
        """`features`: channels of each stride."""
        super().__init__()
        self.heads = nn.ModuleList(_head(channels, config.channels) for channels in features)

    def forward(self, features: Sequence[Tensor]) -> Scores:
        """A map (B, 1, h, w) for each of the features (B, C, h, w), of which only directions count."""
        return [
            head(F.normalize(x_BChw, dim=1) * x_BChw.shape[1] ** 0.5)
            for head, x_BChw in zip(self.heads, features, strict=True)
        ]


def _head(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(channels_in, channels, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(channels, 1, 1)),
    )


def _convolution(channels_in: int, channels_out: int, stride: int, norm: str) -> list[nn.Module]:
    made = nn.Conv2d(channels_in, channels_out, 4, stride=stride, padding=1, bias=norm != "batch")
    return [made, nn.BatchNorm2d(channels_out)] if norm == "batch" else [spectral_norm(made)]


def mean_score(scores: Scores) -> Tensor:
    """The mean over maps, each of which counts the same."""
    return torch.stack([one.float().mean() for one in scores]).mean()


def hinge_loss(real: Scores, fake: Scores) -> Tensor:
    """The discriminator's loss (arXiv 1705.02894): 0 once real scores exceed 1 and made ones are below -1."""
    return mean_score([(F.relu(1 - one) + F.relu(1 + other).mean()) / 2 for one, other in zip(real, fake, strict=True)])


def told_apart(real: Scores, fake: Scores) -> Tensor:
    """The share of patches that are sorted rightly."""
    return mean_score([((one > 0).float().mean() + (other < 0)) / 2 for one, other in zip(real, fake, strict=True)])


class LeCam(nn.Module):
    """LeCam's regularisation (arXiv 2104.03310): real scores stay near the made ones' running mean, and vice versa."""

    means_2: Tensor

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("means_2", torch.zeros(2))

    def forward(self, real: Scores, fake: Scores, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """The loss, without weight; `reduce` takes the mean of a tensor over all processes."""
        found_2 = reduce(torch.stack([mean_score(real), mean_score(fake)]).detach())
        self.means_2.lerp_(found_2, 1 - self.decay)
        real_mean, fake_mean = self.means_2.clone()
        above = mean_score([F.relu(one - fake_mean).square() for one in real])
        return above + mean_score([F.relu(real_mean - one).square() for one in fake])
