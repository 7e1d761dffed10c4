"""What every restorer offers, whatever its family: squares in, restored squares out, with their words and maps.

Knows what all families have (pixels, seconds), and how a family passes on what only it has: named words and named maps.
Knows no family and no model. `tiled.py` restores photographs of any size.

Shape legend: B pictures, s side of the model's square [px], h w source [px] or cells, H W restored picture [px].
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from lit_pure.config.experiment import ColorFix, RestoringConfig, RestoringExperiment
from lit_pure.images.checks import require_batch, require_one_each
from lit_pure.images.geometry import resizer

Words = Mapping[str, str | None]
"""What a model wrote, by name, for example `caption`; None where its text cannot be parsed."""
Progress = Callable[[int], None]
"""Called with the number of tokens that were just made."""
LAST_STAGE = "colors"
"""The last stage of a restoration, whatever the family: colours, 8 bits, and the copy back from the device."""


class Clock(Protocol):
    """Reads the time after each stage of a restoration."""

    def __call__(self, stage: str, seconds: float | None = None) -> None:
        """A stage is done. It took the time since the last call, or `seconds` of it; the next stage gets the rest."""


@dataclass(frozen=True)
class CellMap:
    """One number for each cell of a restored picture, for example the entropy of the token drawn there."""

    values_hw: Tensor
    unit: str
    """Of the values; `nats`, for example."""
    cell: int
    """Side of a cell [px]."""
    highest: float | None = None
    """Upper end of the scale, which starts at 0. None: no fixed scale, and no picture of the map is written."""


@dataclass(frozen=True)
class Restoration:
    """One restored square."""

    image_3HW: Tensor
    """The restored picture in [0, 1]."""
    seconds: float
    """Its share of the time that its batch took."""
    words: Words = field(default_factory=dict)
    """What the model wrote; empty in families that write no words."""
    maps: Mapping[str, CellMap] = field(default_factory=dict)
    """Values for each cell, by name."""
    tokens: int = 0
    """Tokens of its answer, forced ones included; 0 in families without tokens."""
    passes: int = 0
    """Forward passes of the model for its batch; 0 if they are not counted."""


@dataclass(frozen=True)
class CodeSquare:
    """One square as codes, before it is a picture."""

    codes_hw: Tensor
    seconds: float
    """Its share of the time that its batch took."""
    words: Words = field(default_factory=dict)
    maps: Mapping[str, CellMap] = field(default_factory=dict)
    """Values for each cell, by name; those of known cells mean nothing."""
    tokens: int = 0
    """Tokens of its answer, forced ones included, known codes not."""


@dataclass(frozen=True)
class TileWords:
    """What the model wrote of one tile of a photograph, and where that tile lies in the restored picture [px]."""

    top: int
    left: int
    height: int
    width: int
    words: Words


class SquareRestorer(Protocol):
    """Restores squares of one size. A family inherits it and writes `restore_squares`; the rest has defaults."""

    size: int
    """Side of the model's square [px]."""
    scale: int
    """Factor by which a side is enlarged, unless another one is given."""
    restoring: RestoringConfig
    """From squares to pictures."""

    def restore_squares(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        *,
        color_fix: ColorFix,
        shown: tuple[int, int] | None = None,
        given: Sequence[Any] | None = None,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> list[Restoration]:
        """Restore a batch of squares that have been enlarged.

        Args:
            enlarged_B3ss: in [0, 1], on the restorer's device.
            names: one each; they decide the noise.
            color_fix: where colours come from.
            shown: (height, width) of the upper left part that is picture [px]; the rest is padding. None: all.
            given: words for each square from the family's `given_words`; the model does not write its own then.
            progress: called while tokens are made.
            clock: called after each stage but the last.
        """

    def parts(self) -> Mapping[str, nn.Module]:
        """The networks, by name; their parameters are counted, and they move between devices."""
        return {}

    @property
    def expected_tokens(self) -> int:
        """Least number of tokens per square; 0 in families without tokens."""
        return 0

    @property
    def together(self) -> int:
        """Most squares that one core of a CPU restores at once, where others wait for the rest of a batch."""
        return 8

    def settings(self) -> dict[str, Any]:
        """Everything that a picture depends on besides its source, the weights and the scale."""
        return {}

    def computing(self) -> dict[str, str]:
        """How the model computes, for tables of speed: engine, dtype."""
        return {}

    @property
    def sees_source(self) -> bool:
        """Whether the decoder can take from the enlarged source, so that `restoring.fidelity` has an effect."""
        return False

    def with_settings(self, settings: RestoringExperiment) -> Self:
        """The same networks with the settings of `restoring`, and of `sampling` where the family draws.

        What the networks themselves depend on, such as a dtype, stays.
        """
        other = copy(self)
        other.restoring = settings.restoring
        return other

    def words_of(self, tiles: Sequence[TileWords], height: int, width: int) -> Words:
        """The words of a whole photograph (height, width) [px]: those of the tile nearest to its centre."""
        return middle_tile(tiles, height, width).words

    @property
    def device(self) -> torch.device:
        """The device on which squares are expected."""
        found = (item for part in self.parts().values() for item in part.parameters())
        first = next(found, None)
        return torch.device("cpu") if first is None else first.device

    def to(self, device: torch.device) -> Self:
        """Move all parts."""
        for part in self.parts().values():
            part.to(device)
        return self

    def save_to(self, folder: Path) -> None:
        """Write all that it needs to a folder: settings, and the weights of all parts. Raises ValueError."""
        raise ValueError(f"{type(self).__name__} has no format in which it could be saved")

    def restore(self, lq_B3hw: Tensor, names: Sequence[str], progress: Progress | None = None) -> list[Restoration]:
        """Restore a batch of squares of side `size / scale` (any size is stretched to the square).

        Raises:
            ValueError: the pictures are not `(B, 3, h, w)` float in [0, 1], or there is not one name for each.
        """
        require_batch(lq_B3hw, "LQ pictures")
        require_one_each(names, lq_B3hw, "name")
        enlarged_B3ss = resizer(self.restoring.round_source)(lq_B3hw, self.size, self.size)
        return self.restore_squares(enlarged_B3ss, names, color_fix=self.restoring.color_fix, progress=progress)


@runtime_checkable
class CodeRestorer(SquareRestorer, Protocol):
    """A restorer of a family that draws a grid of codes: a square can continue its neighbours, whose codes it is given.

    A photograph is then one grid of codes, and rendered as one picture.
    """

    @property
    def cell(self) -> int:
        """Side of a cell, which has one code [px]."""

    @property
    def context(self) -> int | None:
        """How many cells around a part of a grid its pixels depend on. None: on all of them, as with norms."""

    def draw_codes(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        known_Bhw: Tensor,
        *,
        given: Sequence[Any] | None = None,
        progress: Progress | None = None,
    ) -> list[CodeSquare]:
        """Draw the codes of a batch of squares that have been enlarged.

        Args:
            enlarged_B3ss: in [0, 1], on the restorer's device.
            names: one each; they decide the noise.
            known_Bhw: codes that the squares have already, and -1 where they are to be drawn.
            given: words for each square from the family's `given_words`; the model does not write its own then.
            progress: called while tokens are made.
        """

    def render_codes(self, codes_Bhw: Tensor, enlarged_B3HW: Tensor) -> Tensor:
        """The picture (B, 3, H, W) of a grid of codes, in [0, 1]; the enlarged source of the same size may help."""


def middle_tile(tiles: Sequence[TileWords], height: int, width: int) -> TileWords:
    """The tile nearest to the centre of a picture (height, width) [px]."""

    def squared_distance(tile: TileWords) -> int:
        return (2 * tile.top + tile.height - height) ** 2 + (2 * tile.left + tile.width - width) ** 2

    return min(tiles, key=squared_distance)
