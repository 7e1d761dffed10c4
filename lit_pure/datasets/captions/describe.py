"""Captions computed from pixels: three plain sentences about light, colours, halves and texture.

Knows a dozen colour words, and words for brightness and texture and their place. Knows nothing of files.

Suffixes: 3 RGB, H height, W width; C colour words.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.images.color import luma
from lit_pure.images.io import from_bytes

COLORS = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "teal", "blue", "purple", "pink")
"""Colour words, in the order of the indices below."""

_BLACK, _GREY, _WHITE, _RED, _ORANGE, _BROWN, _YELLOW, _GREEN, _TEAL, _BLUE, _PURPLE, _PINK = range(len(COLORS))
_HUE_EDGES = (15, 45, 70, 160, 200, 260, 300, 345)
_HUE_COLORS = (_RED, _ORANGE, _YELLOW, _GREEN, _TEAL, _BLUE, _PURPLE, _PINK, _RED)
"""A colour extends from one edge [degrees] to the next; red is around 0."""

_SHARES = ((0.6, "mostly"), (0.3, "largely"), (0.12, "some"), (0.04, "a little"))
# Upper ends [luma 0..1: mean, standard deviation, mean slope per pixel], near quantiles of the training set of BSDS500.
_BRIGHTNESS = ((0.2, "very dark"), (0.33, "dark"), (0.44, "dim"), (0.55, "clear"), (0.7, "bright"), (2, "very bright"))
_CONTRAST = ((0.08, "very low"), (0.14, "low"), (0.2, "medium"), (0.26, "high"), (2, "very high"))
_TEXTURE = (
    (0.008, "smooth"),
    (0.018, "soft"),
    (0.03, "lightly textured"),
    (0.05, "finely textured"),
    (2, "full of strong edges"),
)
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


def describe(hq_3HW: Tensor) -> str:
    """Three plain sentences about a picture: its light and colours, its halves, its texture.

    Deterministic, about 25 to 45 words of lower-case ASCII apart from the capitals that begin sentences.

    Args:
        hq_3HW: uint8, both sides at least 3 px.

    Raises:
        ValueError: the picture differs from that.
    """
    return " ".join(_sentences(hq_3HW))


def describe_light(hq_3HW: Tensor) -> str:
    """The first of these sentences: brightness, contrast and colours. Arguments and errors are those of `describe`."""
    return next(_sentences(hq_3HW))


def _sentences(hq_3HW: Tensor) -> Iterator[str]:
    if hq_3HW.ndim != 3 or hq_3HW.shape[0] != 3 or hq_3HW.dtype != torch.uint8 or min(hq_3HW.shape[1:]) < 3:
        raise ValueError(f"expected uint8 (3, H, W) from 3 x 3 px, found {hq_3HW.dtype} {tuple(hq_3HW.shape)}")
    image_3HW = from_bytes(hq_3HW)
    luma_HW = luma(image_3HW)
    height, width = luma_HW.shape
    # colours of small areas, as seen from afar; single pixels would count noise
    small_3HW = F.adaptive_avg_pool2d(image_3HW, (min(height, 48), min(width, 48)))
    color_HW = _color_index(small_3HW)
    light = f"A {_word(luma_HW.mean(), _BRIGHTNESS)} picture of {_word(luma_HW.std(), _CONTRAST)} contrast"
    yield f"{light}, {_palette(color_HW)}."
    yield f"{_layout(luma(small_3HW), color_HW)}."
    yield f"{_texture(luma_HW)}."


def _color_index(image_3HW: Tensor) -> Tensor:
    """Index into `COLORS` per pixel, `(H, W)`, from hue, chroma and value."""
    high_HW, low_HW = image_3HW.amax(0), image_3HW.amin(0)
    chroma_HW = high_HW - low_HW
    red, green, blue = (image_3HW - low_HW) / chroma_HW.clamp(min=1e-6)
    # 120 degrees per primary, 60 towards the next one: the standard hexagonal hue
    sector_HW = torch.where(red >= 1, green - blue, torch.where(green >= 1, 2 + blue - red, 4 + red - green))
    hue_HW = (sector_HW * 60) % 360
    color_HW = torch.tensor(_HUE_COLORS)[torch.bucketize(hue_HW, torch.tensor(_HUE_EDGES, dtype=torch.float32))]
    color_HW[(color_HW == _ORANGE) & (high_HW < 0.75)] = _BROWN  # brown is dark orange
    color_HW[chroma_HW < 0.12 * high_HW + 0.02] = _GREY
    color_HW[(color_HW == _GREY) & (low_HW > 0.8)] = _WHITE
    color_HW[high_HW < 0.15] = _BLACK
    return color_HW


def _palette(color_HW: Tensor) -> str:
    """Up to three colours with their shares, such as "mostly blue with some grey and a little brown"."""
    share_C = torch.bincount(color_HW.flatten(), minlength=len(COLORS)) / color_HW.numel()
    parts: list[str] = []
    for color in share_C.argsort(descending=True, stable=True)[:3].tolist():
        words = [word for least, word in _SHARES if share_C[color] >= least]
        if words or not parts:
            parts.append(f"{words[0] if words else 'a little'} {COLORS[color]}")
    return parts[0] + (" with " + " and ".join(parts[1:]) if parts[1:] else "")


def _layout(luma_HW: Tensor, color_HW: Tensor) -> str:
    """The pair of halves that differ most in light, and the main colour of each."""
    height, width = luma_HW.shape
    halves = (
        ("top", "bottom", (slice(None, height // 2), slice(None)), (slice(-(height // 2), None), slice(None))),
        ("left", "right", (slice(None), slice(None, width // 2)), (slice(None), slice(-(width // 2), None))),
    )
    differences = [float(luma_HW[first].mean() - luma_HW[second].mean()) for _, _, first, second in halves]
    difference = max(differences, key=abs)
    name, other, first, second = halves[differences.index(difference)]
    colors = [COLORS[int(color_HW[area].flatten().mode().values)] for area in (first, second)]
    if abs(difference) < 0.03:
        where = "all over" if colors[0] == colors[1] else f"at the {name} and {colors[1]} at the {other}"
        return f"The light is even, with {colors[0]} {where}"
    degree = "much " if abs(difference) > 0.2 else ""
    compared = f"{degree}brighter" if difference > 0 else f"{degree}darker"
    if colors[0] == colors[1]:
        return f"The {name} is {compared} than the {other}, and both are mainly {colors[0]}"
    return f"The {name} is {compared} and mainly {colors[0]}, the {other} mainly {colors[1]}"


def _texture(luma_HW: Tensor) -> str:
    """How much detail the picture has, and which ninth has most and least of it."""
    edge_HW = (luma_HW[1:, 1:] - luma_HW[:-1, 1:]).abs() + (luma_HW[1:, 1:] - luma_HW[1:, :-1]).abs()
    energy_33 = F.adaptive_avg_pool2d(edge_HW[None], (3, 3))[0]
    most, least = (_position(int(index)) for index in (energy_33.argmax(), energy_33.argmin()))
    kind = _word(edge_HW.mean() / 2, _TEXTURE)
    if float(energy_33.max()) < 1.3 * float(energy_33.min()) + 1e-4:
        return f"It is {kind} all over"
    return f"It is {kind}, with most detail {most} and least {least}"


def _position(ninth: int) -> str:
    """The position of a cell of the 3 x 3 grid, in words."""
    row, column = _ROWS[ninth // 3], _COLUMNS[ninth % 3]
    return "in the centre" if ninth == 4 else f"at the {row} {column}"


def _word(value: Tensor, scale: tuple[tuple[float, str], ...]) -> str:
    """The first word whose upper end is above the value."""
    return next(word for end, word in scale if float(value) < end)
