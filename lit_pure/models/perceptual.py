"""Perceptual distances between pictures, as losses: LPIPS as published, and one that needs no download.

Knows pictures in [0, 1] and distances. Knows nothing of their weight in a loss, or of files: who asks for LPIPS looks
first whether its trunk is there (`metrics/files.py`).

Shape legend: B pictures, H W picture [px], h w a level's grid, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_pure.config.tokenizer import Features
from lit_pure.models.efficientnet import EfficientNetLite, load_efficientnet


class LPIPS(nn.Module):
    """LPIPS with VGG16 (arXiv 1801.03924), torchmetrics' class; its trunk must lie where torchvision looks for it."""

    def __init__(self) -> None:
        super().__init__()
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self.network = LearnedPerceptualImagePatchSimilarity(net_type="vgg").net

    def forward(self, made_B3HW: Tensor, true_B3HW: Tensor) -> Tensor:
        """The mean distance of pairs in [0, 1]; a scalar."""
        return self.network(made_B3HW, true_B3HW, normalize=True).mean()

    def train(self, mode: bool = True) -> "LPIPS":
        """Frozen: dropout stays off."""
        return super().train(False)


class FeatureDistance(nn.Module):
    """The distance that LPIPS has before its linear layers are learned, between features of EfficientNet-Lite0.

    At each stride the channels of a cell are scaled to length one; the squared differences are summed over channels and
    averaged over cells, and the strides are summed.
    """

    def __init__(self, network: EfficientNetLite) -> None:
        super().__init__()
        self.network = network

    def forward(self, made_B3HW: Tensor, true_B3HW: Tensor) -> Tensor:
        """The mean distance of pairs in [0, 1]; a scalar."""
        return self.between(self.network.features(made_B3HW), self.features(true_B3HW))

    @torch.no_grad()
    def features(self, image_B3HW: Tensor) -> list[Tensor]:
        """Features of pictures that nobody changes."""
        return self.network.features(image_B3HW)

    def between(self, made: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
        """The mean distance of pictures with these features."""
        levels = zip(made, true, strict=True)
        parts = [(_unit(made_BChw) - _unit(true_BChw)).square().sum(1).mean() for made_BChw, true_BChw in levels]
        return torch.stack(parts).sum()


def make_distance(features: Features) -> nn.Module | None:
    """The distance that is configured, frozen; None for `none`. Raises ValueError where its weights are missing."""
    if features == "none":
        return None
    made = LPIPS() if features == "lpips" else FeatureDistance(load_efficientnet())
    return made.requires_grad_(False).eval()


def _unit(x_BChw: Tensor) -> Tensor:
    """Channels of a cell scaled to length one, in float32; a cell without features stays 0."""
    x_BChw = x_BChw.float()
    return x_BChw / (x_BChw.square().sum(1, keepdim=True) + 1e-10).sqrt()
