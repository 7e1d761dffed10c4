"""Restores photographs of any size by overlapping squares.

Knows how a photograph is cut into squares that are restored each for itself, and in which order and batches. Squares
that continue their neighbours are `continued.py`'s. Knows no family.

Shape legend: h w source [px].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lit_pure.config.experiment import ColorFix
from lit_pure.images.checks import require_picture
from lit_pure.images.geometry import enlarge_padded, enlarger
from lit_pure.images.tiles import Cover, Tile, batches
from lit_pure.restoring.continued import ContinuedPhoto, continue_photos
from lit_pure.restoring.contract import CodeRestorer, SquareRestorer
from lit_pure.restoring.journal import Journal, Remembering
from lit_pure.restoring.photo import PhotoBuilder, PhotoMeter, PhotoProgress, RestoredPhoto


def restore_photo(
    restorer: SquareRestorer,
    photo_3hw: Tensor,
    name: str,
    scale: int | None = None,
    color_fix: ColorFix | None = None,
    progress: PhotoProgress | None = None,
    given: Callable[[Tile], Any] | None = None,
) -> RestoredPhoto:
    """Restore one photograph of any size, enlarged `scale` times, by overlapping squares.

    Memory is bounded by `restoring.batch` squares and one row of squares; the result in 8 bits is in a temporary file
    where it is large (`images/large.py`). A photograph that fits
    into one square draws the noise of `name`; of several squares, each draws its own.

    Args:
        restorer: restores the squares.
        photo_3hw: in [0, 1].
        name: decides the noise.
        scale: at least 1; None: the scale that the model was trained for.
        color_fix: None: that of the configuration.
        progress: receives the number of expected tokens, and of tokens just made.
        given: returns the words of a tile, which the model then does not write.

    Raises:
        ValueError: the photograph is not `(3, h, w)` float in [0, 1], `scale` is below 1, or squares cannot continue
            their neighbours, as `restoring.tiles` wants.
        MemoryError: the result does not fit.
    """
    require_picture(photo_3hw, "photograph")
    photo_3hw = photo_3hw.to(restorer.device)
    scale = restorer.scale if scale is None else scale
    if scale < 1:
        raise ValueError(f"scale {scale} is below 1; a photograph is enlarged 1, 2, 3 ... times")
    size, restoring = restorer.size, restorer.restoring
    color_fix = color_fix or restoring.color_fix
    if restoring.tiles == "continue":
        if not isinstance(restorer, CodeRestorer):
            raise ValueError(
                "restoring.tiles = continue needs codes to continue, and this model draws none: take blend"
            )
        photo = ContinuedPhoto(restorer, photo_3hw, name, scale, color_fix, progress, given)
        return continue_photos(restorer, [photo])[0]
    rows, columns = (Cover(side * scale, size, int(size * restoring.overlap)) for side in photo_3hw.shape[-2:])
    count, shown = len(rows.starts) * len(columns.starts), (rows.extent, columns.extent)
    if progress is not None:
        progress.begin(rows.length, columns.length, count)
    by = enlarger(restoring.round_source)
    builder, meter = PhotoBuilder(rows, columns), PhotoMeter(count, restorer.expected_tokens, progress)
    for tiles in batches(rows, columns, restoring.batch):
        batch = restorer.restore_squares(
            torch.stack([enlarge_padded(photo_3hw, scale, tile.top, tile.left, size, size, by) for tile in tiles]),
            [name if count == 1 else f"{name}/{tile.number}" for tile in tiles],
            color_fix=color_fix,
            shown=shown,
            given=[given(tile) for tile in tiles] if given else None,
            progress=meter.add_tokens,
        )
        builder.add(tiles, batch)
        meter.add_batch(batch)
    return builder.finish(meter, restorer.words_of)


def restore_together(
    restorer: SquareRestorer,
    photos: Sequence[tuple[Tensor, str, int]],
    given: Sequence[Callable[[Tile], Any] | None],
) -> list[RestoredPhoto]:
    """Restore photographs (picture, name, scale), which fit into memory, as `restore_photo` does but for rounding.

    Squares that continue their neighbours share batches: one photograph alone has few that can be drawn at once.
    Arguments and errors are those of `restore_photo`.
    """
    color_fix = restorer.restoring.color_fix
    if restorer.restoring.tiles == "continue" and isinstance(restorer, CodeRestorer):
        begun = [
            ContinuedPhoto(restorer, photo_3hw.to(restorer.device), name, scale, color_fix, given=told)
            for (photo_3hw, name, scale), told in zip(photos, given, strict=True)
        ]
        return continue_photos(restorer, begun)
    return [
        restore_photo(restorer, photo_3hw, name, scale, given=told)
        for (photo_3hw, name, scale), told in zip(photos, given, strict=True)
    ]


@dataclass(frozen=True)
class BySquares:
    """A `PhotoRestorer` made of a restorer of squares."""

    restorer: SquareRestorer

    @property
    def scale(self) -> int:
        return self.restorer.scale

    def settings(self) -> dict[str, Any]:
        """The restorer's own, and how squares become a photograph; a batch of another size only rounds otherwise."""
        return {"restoring": self.restorer.restoring.identity(), **self.restorer.settings()}

    def restore_photo(
        self,
        photo_3hw: Tensor,
        name: str,
        scale: int | None = None,
        *,
        progress: PhotoProgress | None = None,
        journal: Journal | None = None,
    ) -> RestoredPhoto:
        restorer = self.restorer
        if journal is not None and isinstance(restorer, CodeRestorer):
            restorer = Remembering(restorer, journal)
        return restore_photo(restorer, photo_3hw, name, scale, progress=progress)
