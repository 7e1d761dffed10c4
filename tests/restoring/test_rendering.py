"""Parts of a picture are exactly the whole picture; squares that are blended show no borders where codes agree."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_pure.config.experiment import ColorFix, RestoringConfig
from lit_pure.images.colorfix import fix_colors
from lit_pure.images.io import to_bytes
from lit_pure.restoring import rendering
from lit_pure.restoring.continued import cell_cover
from lit_pure.restoring.rendering import Rendering, spans
from tests.restoring.codes import CELL, CODES, Scribbler, photo


def render(
    shape: tuple[int, int], context: int | None, color_fix: ColorFix, scale: int = 2, batch: int = 2
) -> tuple[Tensor, Tensor]:
    """What is rendered of random codes, and what the whole would be: both 8 bits (3, H, W)."""
    restorer = Scribbler(RestoringConfig(batch=batch), context)
    photo_3hw = photo(*shape)
    rows, columns = (cell_cover(side * scale, restorer.size, CELL, 0.25) for side in shape)
    generator = torch.Generator().manual_seed(1)
    codes_hw = torch.randint(CODES, (rows.length // CELL, columns.length // CELL), generator=generator)
    made = Rendering(restorer, photo_3hw, scale, rows, columns, color_fix).finish(codes_hw)
    whole_3HW, source_3HW = restorer.whole(photo_3hw, codes_hw, scale)
    return made, to_bytes(fix_colors(whole_3HW[None], source_3HW[None].double(), color_fix)[0])


@pytest.mark.parametrize("color_fix", ["none", "wavelet", "adain"])
@pytest.mark.parametrize("part", [24, 40, 512])
@pytest.mark.parametrize(("shape", "scale"), [((50, 61), 2), ((9, 70), 3), ((7, 5), 2)])
def test_parts_are_the_whole(
    shape: tuple[int, int], scale: int, part: int, color_fix: ColorFix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "PART", part)
    made, whole = render(shape, 2, color_fix, scale)
    assert made.shape == (3, *(side * scale for side in shape))
    difference = (made.int() - whole.int()).abs()
    assert difference.max() <= 1 and difference.ne(0).float().mean() < 1e-3, "one level where halves are rounded"


def test_too_little_context_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above shows nothing."""
    monkeypatch.setattr(rendering, "PART", 40)
    for context, reach in ((0, 31), (2, 15)):
        monkeypatch.setattr(rendering, "wavelet_reach", lambda levels, reach=reach: reach)
        made, whole = render((50, 61), context, "wavelet")
        assert (made.int() - whole.int()).abs().max() >= 2


def test_parts_lie_side_by_side_and_reach_as_far_as_they_must() -> None:
    found = list(spans(100, 13, 8, 2, 31, 40))
    assert [(one.start, one.stop) for one in found] == [(0, 40), (40, 80), (80, 100)]
    assert [(one.first, one.last) for one in found] == [(0, 71), (9, 100), (49, 100)]
    assert [one.cells for one in found] == [slice(0, 11), slice(0, 13), slice(4, 13)]


def borders(pixels_3HW: Tensor, shape: tuple[int, int], scale: int, overlap: float, size: int) -> float:
    """Mean absolute step where squares begin, meet or end, over that on other borders of cells."""
    luma_HW = np.tensordot([0.299, 0.587, 0.114], pixels_3HW.double().numpy(), 1)
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(luma_HW, axis=axis)).mean(1 - axis)
        cover = cell_cover(shape[axis] * scale, size, CELL, overlap)
        lines = set(cover.starts[1:]) | {start + size for start in cover.starts[:-1]}
        lines |= {(before + size + after) // 2 for before, after in zip(cover.starts, cover.starts[1:], strict=False)}
        on = np.array([line in lines for line in range(1, len(steps) + 1)])
        cells = np.arange(1, len(steps) + 1) % CELL == 0
        ratios.append(steps[on].mean() / steps[cells & ~on].mean())
    return float(np.mean(ratios))


@pytest.mark.parametrize("context", [None, 2])
def test_nothing_is_seen_where_squares_meet(context: int | None) -> None:
    """Of a sky, with codes that are as random there as elsewhere."""
    shape = (150, 170)
    made, whole = render(shape, context, "wavelet")
    assert borders(made, shape, 2, 0.25, 32) <= 1.05
    assert borders(whole, shape, 2, 0.25, 32) == pytest.approx(borders(made, shape, 2, 0.25, 32), abs=0.1)


def test_squares_are_rendered_alike_in_any_batch() -> None:
    one, many = (render((50, 61), None, "adain", batch=batch)[0] for batch in (1, 8))
    assert torch.equal(one, many)
