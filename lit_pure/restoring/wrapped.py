"""A restorer around another one. Knows how to be taken for it; what it changes is written by those who inherit."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lit_pure.restoring.contract import CodeRestorer, SquareRestorer, TileWords, Words


class Wrapped(SquareRestorer):
    """All but `restore_squares` is the inner one's."""

    def __init__(self, restorer: SquareRestorer) -> None:
        self.restorer = restorer
        self.size, self.scale, self.restoring = restorer.size, restorer.scale, restorer.restoring

    @property
    def expected_tokens(self) -> int:
        return self.restorer.expected_tokens

    @property
    def together(self) -> int:
        return self.restorer.together

    def parts(self) -> Mapping[str, nn.Module]:
        return self.restorer.parts()

    def settings(self) -> dict[str, Any]:
        return self.restorer.settings()

    def computing(self) -> dict[str, str]:
        return self.restorer.computing()

    def words_of(self, tiles: Sequence[TileWords], height: int, width: int) -> Words:
        return self.restorer.words_of(tiles, height, width)


class WrappedCodes(Wrapped, CodeRestorer):
    """The same around a restorer of codes; all but `draw_codes` and `restore_squares` is the inner one's."""

    restorer: CodeRestorer

    @property
    def cell(self) -> int:
        return self.restorer.cell

    @property
    def context(self) -> int | None:
        return self.restorer.context

    def render_codes(self, codes_Bhw: Tensor, enlarged_B3HW: Tensor) -> Tensor:
        return self.restorer.render_codes(codes_Bhw, enlarged_B3HW)
