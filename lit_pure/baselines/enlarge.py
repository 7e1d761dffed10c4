"""Enlarges photographs of any size with a baseline, part by part.

Knows how a photograph is cut so that memory is bounded. Knows nothing of weights, files or flags.

Suffixes: 3 RGB, h w source [px], H W enlarged [px].
"""

import time
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lit_pure.baselines.net import Net
from lit_pure.baselines.table import BASELINES, Baseline
from lit_pure.images.checks import require_picture
from lit_pure.images.geometry import BICUBIC_REACH, enlarge, enlarge_part
from lit_pure.images.tiles import Canvas, Cover, batches
from lit_pure.restoring.journal import Journal
from lit_pure.restoring.photo import PhotoProgress, RestoredPhoto

LARGEST = 192
"""Longest side that is computed in one piece, what lies around a part included [px]; an RRDB takes 2 GB for it."""


class Enlarger:
    """Enlarges photographs with one baseline; a `PhotoRestorer` as those of our runs are.

    A photograph with sides of up to `LARGEST` px is enlarged in one piece, as the published scripts do. A larger one is
    cut into parts. Each is computed with what lies `reach` px around it, and cut out exactly.
    """

    def __init__(self, baseline: Baseline, threads: int | None = None) -> None:
        """`threads`: of a network; None: as many as torch has. Raises ConfigError where it is not installed."""
        baseline.require()
        self.baseline, self.scale, self.largest = baseline, baseline.scale, LARGEST
        weights = baseline.weights
        self.reach = weights.reach if weights else BICUBIC_REACH
        self._net = Net(weights, threads or torch.get_num_threads()) if weights else None

    def settings(self) -> dict[str, Any]:
        return {"baseline": self.baseline.name, **self.baseline.identity}

    def enlarge(self, image_3hw: Tensor, scale: int) -> Tensor:
        """A whole picture (3, H, W) in one piece. Raises ConfigError where the scale is fixed and another one."""
        self.baseline.check_scale(scale)
        return self._net(image_3hw) if self._net else enlarge(image_3hw, scale)

    def restore_photo(
        self,
        photo_3hw: Tensor,
        name: str,
        scale: int | None = None,
        *,
        progress: PhotoProgress | None = None,
        journal: Journal | None = None,
    ) -> RestoredPhoto:
        """Enlarge a photograph of any size; `progress` counts parts. No baseline draws, so `name` decides nothing.

        Raises:
            ConfigError: the scale is fixed, and another one.
            ValueError: the photograph is not `(3, h, w)` float in [0, 1].
            MemoryError: the result does not fit.
        """
        scale, started = self.scale if scale is None else scale, time.perf_counter()
        self.baseline.check_scale(scale)
        require_picture(photo_3hw, "photograph")
        rows, columns = (Cover(side * scale, self._part(side) * scale, 0) for side in photo_3hw.shape[-2:])
        canvas = Canvas(rows, columns)
        if progress is not None:
            count = len(rows.starts) * len(columns.starts)
            progress.begin(rows.length, columns.length, count)
            progress.plan(count)
        for [part] in batches(rows, columns, 1):
            place = (part.top, part.left, rows.extent, columns.extent)
            canvas.add(part, enlarge_part(photo_3hw, scale, *place, self.enlarge, self.reach))
            if progress is not None:
                progress(1)
        return RestoredPhoto(canvas.finish(), {}, {}, 0, time.perf_counter() - started, [])

    def _part(self, side: int) -> int:
        """Side of a part [px]: the whole side, or what is left for it between what lies around it."""
        return side if side <= self.largest else self.largest - 2 * self.reach


@lru_cache(maxsize=1)
def enlarger_of(name: str, threads: int | None = None) -> Enlarger:
    """The enlarger of a baseline's name; the last one stays in memory. Raises ConfigError where it is not installed."""
    return Enlarger(BASELINES[name], threads)
