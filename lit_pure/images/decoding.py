"""From an encoded picture to whole numbers: colours in sRGB, and alpha.

Knows Pillow's modes and how 16 bits are read: of colours Pillow keeps one byte of two, so both are read here. Knows
nothing of floats in [0, 1], which are `io.py`'s.

Suffixes: C channels, 3 RGB, H height, W width.
"""

import re
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from lit_pure.images.opening import opened, upright
from lit_pure.images.profiles import is_srgb, to_srgb

HIGHEST = 65535
"""The highest level of 16 bits."""
_LEVELS = 257  # levels of 16 bits for one of 8
_DEEP = re.compile(r"(RGB|RGBA|RGBa|RGBX|CMYK|LA);16([BLN])")  # Pillow's names of layouts with two bytes a channel
_BITS, _PLANES = 258, 284  # tags of TIFF

Decoded = tuple[Tensor, Tensor | None]
"""Colours `(3, H, W)` and alpha `(1, H, W)`; uint8, or int32 in 0..65535. None without alpha."""


def decode(path: Path, content: IO[bytes] | None = None) -> Decoded:
    """The upright picture; int32 where the file has 16 bits.

    CMYK with 16 bits is rounded to 8, and so are colours with 16 bits whose profile is not sRGB.

    Raises nearly anything where the file is damaged; ValueError where its values have no known range.
    """
    start = content.tell() if content else 0
    with opened(path, content) as file:
        layout = _layout(file)
        deep = _DEEP.fullmatch(layout)
        if deep is None:
            picture = upright(file)
            return _deep_gray(picture, path) if picture.mode[0] in "IF" else _eight_bits(picture, path)
    parts: list[NDArray[Any]] = []
    for one in _both_bytes(*deep.groups()):
        if content:
            content.seek(start)
        with opened(path, content) as file:
            file.tile = [tile._replace(args=_in_layout(tile.args, one)) for tile in file.tile]
            picture = upright(file)
            parts.append(np.asarray(picture).astype(np.int32))
    if deep[1] == "LA":  # both bytes of both channels, read as four
        parts = [parts[0][..., 0::2], parts[0][..., 1::2]]
    values_HWC = parts[0] * 256 + parts[1]
    return _deep_colors(deep[1], values_HWC, picture, path)


def _layout(file: ImageFile) -> str:
    """Pillow's name of how pixels are stored; empty where it has none. Raises ValueError for one it misreads."""
    if isinstance(file, TiffImageFile) and file.tag_v2.get(_PLANES) == 2 and file.tag_v2.get(_BITS, ())[1:2] == (16,):
        raise ValueError(
            "16 bits in separate planes, which Pillow misreads; save the picture with interleaved channels"
        )
    args = file.tile[0].args if file.tile else ""
    layout = args[0] if isinstance(args, tuple) and args else args
    return layout if isinstance(layout, str) else ""


def _in_layout(args: Any, layout: str) -> Any:
    """The arguments of a decoder, for another layout."""
    return (layout, *args[1:]) if isinstance(args, tuple) else layout


def _both_bytes(kind: str, order: str) -> tuple[str, ...]:
    """The layouts by which Pillow reads the high and the low bytes of a layout with 16 bits."""
    if kind == "LA":  # only PNG has it, whose order is B
        return ("RGBA",)
    little = order == "L" or (order == "N" and sys.byteorder == "little")
    kind = kind.replace("a", "A")  # Pillow would divide by alpha in 8 bits
    first, second = f"{kind};16B", f"{kind};16L"  # of each pair of bytes
    return (second, first) if little else (first, second)


def _eight_bits(picture: Image.Image, path: Path) -> Decoded:
    """A picture with 8 bits or fewer."""
    info = picture.info
    if not picture.has_transparency_data:
        mode = {"1": "L", "L": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
        return _channels_first(to_srgb(picture.convert(mode), info, path)), None
    rgba = picture.convert("RGBA")
    colors = rgba.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")
    return _channels_first(to_srgb(colors, info, path)), _channels_first(rgba.getchannel("A"))


def _deep_gray(picture: Image.Image, path: Path) -> Decoded:
    """A grey picture with more than 8 bits. Raises ValueError where its range is unknown."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown; save the picture with 8 or 16 bits")
    values_HW = np.asarray(picture)
    low, high = int(values_HW.min()), int(values_HW.max())
    if low < 0 or high > HIGHEST:
        raise ValueError(f"grey values {low}..{high}; save the picture with 8 or 16 bits (0..{HIGHEST})")
    return _deep_colors("L", values_HW.astype(np.int32)[..., None], picture, path)


def _deep_colors(kind: str, values_HWC: NDArray[Any], picture: Image.Image, path: Path) -> Decoded:
    """A picture with 16 bits; `picture` is the same with 8, for what its file says."""
    info, key = picture.info, picture.info.get("transparency")
    if kind == "CMYK":
        return _channels_first(
            to_srgb(
                Image.merge("CMYK", [Image.fromarray(one) for one in np.moveaxis(_to_eight(values_HWC), -1, 0)]),
                info,
                path,
            )
        ), None
    channels = 1 if kind in ("L", "LA") else 3
    colors_HWC, alpha_HW1 = values_HWC[..., :channels], None
    if kind in ("LA", "RGBA", "RGBa"):
        alpha_HW1 = values_HWC[..., -1:]
    elif key is not None:  # PNG: one colour is transparent
        alpha_HW1 = np.where((colors_HWC == np.asarray(key)).all(-1, keepdims=True), 0, HIGHEST)
    if kind == "RGBa" and alpha_HW1 is not None:
        colors_HWC = np.minimum(np.rint(colors_HWC * (HIGHEST / np.maximum(alpha_HW1, 1))), HIGHEST)
    mode = "L" if channels == 1 else "RGB"
    if is_srgb(info, mode, path):
        colors_3HW = torch.from_numpy(colors_HWC.astype(np.int32)).permute(2, 0, 1).expand(3, -1, -1)
    else:
        eight = Image.fromarray(_to_eight(colors_HWC).squeeze(-1) if mode == "L" else _to_eight(colors_HWC))
        colors_3HW = _channels_first(to_srgb(eight, info, path))
    return colors_3HW, None if alpha_HW1 is None else _channels_first(alpha_HW1.astype(np.int32))


def _to_eight(values: NDArray[Any]) -> NDArray[np.uint8]:
    """16 bits to the nearest of 256 levels."""
    return ((values + _LEVELS // 2) // _LEVELS).astype(np.uint8)


def _channels_first(picture: Image.Image | NDArray[Any]) -> Tensor:
    """`(C, H, W)` of an array `(H, W, C)`, or of a picture with 8 bits per channel."""
    pixels = np.array(picture)
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None]).permute(2, 0, 1)
