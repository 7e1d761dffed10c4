"""Schedules of scales for next-scale prediction: which grids of tokens a picture has, from one token to the finest.

Knows the 15 published aspect ratios with their grids and pixel budgets (Infinity, arXiv 2412.04431), schedules for
other squares, and the arithmetic around them. Plain integers: imports no torch, knows no model.

A grid is (rows, columns) of transformer tokens. Where a tokenizer folds patches of latent cells into a token, the grid
of cells is `latent_grids`. The sequence holds the scales one after the other, each row by row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Grid = tuple[int, int]
"""Rows and columns."""

BUDGETS = {"0.06M": 7, "0.25M": 10, "0.60M": 12, "1M": 13}
"""Pixel budget -> how many of a template's scales, from the first."""
TOKEN_PIXELS = 16
"""Side of what a token stands for in the published models [px]."""


@dataclass(frozen=True)
class Template:
    """An aspect ratio and its grids."""

    ratio: float
    """Height / width, as published: cut to 3 decimals below 1."""
    grids: tuple[Grid, ...]
    """All 13; the last one is the frame of the rotary positions, whatever the budget."""

    def schedule(self, budget: str = "1M") -> list[Grid]:
        """The grids of a pixel budget. Raises ValueError where there is no such budget."""
        if budget not in BUDGETS:
            raise ValueError(f"there is no pixel budget {budget!r}; choose from {', '.join(BUDGETS)}")
        return list(self.grids[: BUDGETS[budget]])

    def size(self, budget: str = "1M", token_pixels: int = TOKEN_PIXELS) -> tuple[int, int]:
        """Height and width of the picture [px]. Raises ValueError where there is no such budget."""
        rows, columns = self.schedule(budget)[-1]
        return rows * token_pixels, columns * token_pixels


_UPRIGHT = {
    1.0: "4x4 6x6 8x8 12x12 16x16 20x20 24x24 32x32 40x40 48x48 64x64",
    1.25: "3x3 5x4 10x8 15x12 20x16 25x20 30x24 35x28 45x36 55x44 70x56",
    1.333: "4x3 8x6 12x9 16x12 20x15 24x18 28x21 36x27 48x36 60x45 72x54",
    1.5: "3x2 6x4 9x6 15x10 21x14 27x18 33x22 39x26 48x32 63x42 78x52",
    1.75: "3x3 7x4 11x6 14x8 21x12 28x16 35x20 42x24 56x32 70x40 84x48",
    2.0: "4x2 6x3 10x5 16x8 22x11 30x15 38x19 46x23 60x30 74x37 90x45",
    2.5: "5x2 10x4 15x6 20x8 25x10 30x12 40x16 50x20 65x26 80x32 100x40",
    3.0: "6x2 9x3 15x5 21x7 27x9 36x12 45x15 54x18 72x24 90x30 111x37",
}
"""The grids after 1x1 and 2x2."""


def _templates() -> dict[float, Template]:
    found = {}
    for ratio, text in _UPRIGHT.items():
        rest = [tuple(int(side) for side in grid.split("x")) for grid in text.split()]
        grids: list[Grid] = [(1, 1), (2, 2), *((rows, columns) for rows, columns in rest)]
        found[ratio] = Template(ratio, tuple(grids))
        lying = int(1000 / ratio) / 1000
        if lying != ratio:
            found[lying] = Template(lying, tuple((columns, rows) for rows, columns in grids))
    return found


TEMPLATES = _templates()
"""Height / width -> template, upright before lying."""


def nearest_template(height: int, width: int) -> Template:
    """The template whose ratio is nearest to `height / width`, also where that lies beyond all of them.

    Raises ValueError where a side is below 1.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} has no aspect ratio; both sides must be at least 1")
    return min(TEMPLATES.values(), key=lambda template: abs(height / width - template.ratio))


def cover(height: int, width: int, size: tuple[int, int]) -> tuple[Grid, Grid]:
    """How a picture comes to fill `size` exactly: resized keeping its ratio until it covers it, then cropped.

    Returns:
        (height, width) of the resized picture, and (top, left) of the central crop in it [px].
    """
    rows, columns = size
    # Compared without division, and rounded down: never smaller than what it covers.
    if width * rows <= height * columns:
        resized = (columns * height // width, columns)
    else:
        resized = (rows, rows * width // height)
    return resized, ((resized[0] - rows) // 2, (resized[1] - columns) // 2)


def fitting_grids(sides: Sequence[int], last: Grid) -> list[Grid]:
    """A schedule for any last grid: that of the square whose number of tokens is nearest, stretched to it.

    Args:
        sides: of squares, ascending. A square that ends with one of them has exactly the sides up to it.
        last: rows and columns, at least 1.
    """
    area = last[0] * last[1]
    nearest = min(sides, key=lambda side: max(side**2 / area, area / side**2))
    return stretched([(side, side) for side in sides if side <= nearest], last)


def stretched(grids: Sequence[Grid], last: Grid) -> list[Grid]:
    """The same number of scales for another last grid: each side in proportion, rounded, at least 1."""
    rows, columns = grids[-1]
    return [
        (max(1, (2 * own * last[0] + rows) // (2 * rows)), max(1, (2 * other * last[1] + columns) // (2 * columns)))
        for own, other in grids
    ]


def latent_grids(grids: Sequence[Grid], patch: int) -> list[Grid]:
    """The grids of latent cells, with `patch` x `patch` cells to a token."""
    return [(rows * patch, columns * patch) for rows, columns in grids]


def tokens(grids: Sequence[Grid]) -> int:
    """The length of the sequence."""
    return sum(rows * columns for rows, columns in grids)


def spans(grids: Sequence[Grid]) -> list[slice]:
    """Where each scale lies in the sequence."""
    return [slice(tokens(grids[:index]), tokens(grids[: index + 1])) for index in range(len(grids))]


def prefix_length(grids: Sequence[Grid], known: Grid) -> int:
    """How many scales, from the first, fit into a grid that is known: NSARM's prefix (arXiv 2510.00820)."""
    fits = [rows <= known[0] and columns <= known[1] for rows, columns in grids]
    return fits.index(False) if False in fits else len(fits)
