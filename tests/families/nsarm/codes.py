"""A stand-in for the tokenizer's part of decoding, and a small transformer with weights that matter."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.models.frame_rope import Grid
from lit_pure.models.next_scale import NextScaleTransformer
from lit_pure.models.packed_text import PackedText

GRIDS: list[Grid] = [(1, 1), (2, 2), (3, 2), (5, 4)]
FRAME: Grid = (10, 8)
TINY = NextScaleConfig(
    width=32, layers=3, heads=4, ffn=64, bits=6, levels=5, text_width=12, text_length=9, pool_heads=2, drop_path=0.0
)


class SumOfCodes:
    """Codes +-1/sqrt(d), brought up to the last grid and summed; brought to the next one bilinearly or by area."""

    def __init__(self, grids: Sequence[Grid], channels: int, patch: int = 1, area: bool = False) -> None:
        self.grids = [(rows * patch, columns * patch) for rows, columns in grids]
        self.channels, self.patch, self.area = channels, patch, area

    def begin(self, pictures: int, device: torch.device) -> Tensor:
        return torch.zeros(pictures, self.channels, *self.grids[-1], device=device)

    def add(self, sum_BdHW: Tensor, bits_BNb: Tensor, scale: int) -> Tensor:
        rows, columns = self.grids[scale]
        grid = (rows // self.patch, columns // self.patch)
        signs = F.pixel_shuffle((2 * bits_BNb.float() - 1).transpose(1, 2).unflatten(2, grid), self.patch)
        code_Bdhw = signs / self.channels**0.5
        return sum_BdHW + F.interpolate(code_Bdhw, size=self.grids[-1], mode="bilinear")

    def inputs(self, sum_BdHW: Tensor, scale: int) -> Tensor:
        size = self.grids[scale]
        smaller = F.adaptive_avg_pool2d(sum_BdHW, size) if self.area else F.interpolate(sum_BdHW, size, mode="bilinear")
        return F.pixel_unshuffle(smaller, self.patch).flatten(2).transpose(1, 2)


def tiny(config: NextScaleConfig = TINY, seed: int = 0) -> NextScaleTransformer:
    """A transformer none of whose parameters is near zero or one, so that a swapped pair would be seen."""
    torch.manual_seed(seed)
    transformer = NextScaleTransformer(config).eval()
    for name, parameter in transformer.named_parameters():
        torch.nn.init.normal_(parameter, mean=float(name.endswith("norm.weight")), std=0.3)
    with torch.no_grad():
        transformer.blocks[0].attention.scale_H[0] = 9.0  # above ln 100
    return transformer


def captions(*lengths: int, width: int = TINY.text_width) -> PackedText:
    return PackedText(torch.randn(sum(lengths), width), lengths)
