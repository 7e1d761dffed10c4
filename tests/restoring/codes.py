"""A restorer of codes without a model: each square draws codes of its own, and a small network renders them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.experiment import RestoringConfig
from lit_pure.images.geometry import enlarge_padded
from lit_pure.restoring.contract import CellMap, CodeRestorer, CodeSquare

CODES, SIZE, CELL = 50, 32, 8
SIDE = SIZE // CELL


class Scribbler(CodeRestorer):
    """Draws random codes for a name, and keeps what it was asked for."""

    size, scale, cell, context = SIZE, 2, CELL, None
    expected_tokens = SIDE * SIDE

    def __init__(self, restoring: RestoringConfig, context: int | None = None) -> None:
        self.restoring, self.context = restoring, context
        self.asked: dict[str, Tensor] = {}
        self.drew: dict[str, Tensor] = {}
        self.told: dict[str, Any] = {}
        self.batches: list[list[str]] = []
        generator = torch.Generator().manual_seed(0)
        self.look_NC, self.mix, self.paint, self.help = (
            torch.randn(*shape, generator=generator, dtype=torch.float64)
            for shape in ((CODES, 4), (4, 4, 3, 3), (3, 4, 3, 3), (3, 3, 3, 3))
        )

    def draw_codes(
        self, enlarged_B3ss: Tensor, names: Sequence[str], known_Bhw: Tensor, **how: Any
    ) -> list[CodeSquare]:
        self.batches.append(list(names))
        self.told.update(zip(names, how.get("given") or [None] * len(names), strict=True))
        return [self._draw(name, known_hw) for name, known_hw in zip(names, known_Bhw, strict=True)]

    def _draw(self, name: str, known_hw: Tensor) -> CodeSquare:
        generator = torch.Generator().manual_seed(sum(name.encode()))
        own_hw = torch.randint(CODES, known_hw.shape, generator=generator)
        codes_hw = torch.where(known_hw < 0, own_hw, known_hw)
        self.asked[name], self.drew[name] = known_hw, codes_hw
        maps = {"own": CellMap(own_hw.float().masked_fill(known_hw >= 0, 0), "codes", CELL)}
        return CodeSquare(codes_hw, 0.5, {"name": name}, maps, int((known_hw < 0).sum()))

    def render_codes(self, codes_Bhw: Tensor, enlarged_B3HW: Tensor) -> Tensor:
        """Convolutions that look one cell far, then one pixel; and what the enlarged source shows one pixel around."""
        mixed_BChw = F.conv2d(self.look_NC[codes_Bhw].movedim(-1, 1), self.mix, padding=1).tanh()
        painted_B3HW = F.conv2d(mixed_BChw.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3), self.paint, padding=1)
        helped_B3HW = F.conv2d(enlarged_B3HW.double(), self.help, padding=1)
        return (painted_B3HW / 8 + helped_B3HW / 20 + 0.5).clamp(0, 1)

    def whole(self, photo_3hw: Tensor, codes_hw: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """The picture of all codes rendered at once, and the enlarged source: both (3, H, W) in [0, 1]."""
        sides = [side * CELL for side in codes_hw.shape]
        source_3HW = enlarge_padded(photo_3hw, scale, 0, 0, *sides)
        height, width = (side * scale for side in photo_3hw.shape[-2:])
        made_3HW = self.render_codes(codes_hw[None], source_3HW[None])[0]
        return made_3HW[:, :height, :width], source_3HW[:, :height, :width]


def photo(height: int, width: int) -> Tensor:
    """A smooth sky with a little noise."""
    generator = torch.Generator().manual_seed(0)
    ramp_3hw = torch.linspace(0.2, 0.7, width).expand(3, height, width) + torch.linspace(0, 0.2, height)[:, None]
    return (ramp_3hw + 0.01 * torch.randn(3, height, width, generator=generator)).clamp(0, 1)
