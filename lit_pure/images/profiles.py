"""Colour profiles (ICC): from a picture's own colours to sRGB.

Knows which profiles say no more than sRGB, whose pixels stay as they are to the last bit, and what happens to one that
cannot be used. Knows nothing of alpha or 16 bits: LittleCMS, which Pillow brings, converts 8 bits.

A picture without a profile is taken as sRGB. Other statements about colour (gAMA, cHRM and cICP of PNG) are not used.
"""

import logging
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops

if TYPE_CHECKING:
    from PIL import ImageCms

log = logging.getLogger(__name__)

SAME = 2
"""A profile that moves no colour by more is sRGB in another notation [levels]: some store curves as short tables."""
AS_STORED = b"cmp3.10.3.2Lq3 0x756ffbf7"
"""The comment, with a checksum, of the one file that is not converted, wherever it lies: scikit-image's `rocket.jpg` is
in Adobe RGB, and the demo's figures are published with its numbers as they are stored."""
_STEPS = 18  # levels of each channel at which a profile is compared with sRGB
_said: set[str] = set()


def to_srgb(picture: Image.Image, info: Mapping[Any, Any], path: Path) -> Image.Image:
    """The picture as Pillow's `RGB`, in sRGB.

    Args:
        picture: decoded, in mode L, RGB or CMYK.
        info: what its file says, with its profile under `icc_profile`.
        path: names it in the message that a profile cannot be used, which is logged once for each reason.
    """
    mode, transform = _usable(info, picture.mode, path)
    if transform is None:
        return picture.convert("RGB")
    return _apply(transform, picture.convert(mode))


def is_srgb(info: Mapping[Any, Any], mode: str, path: Path) -> bool:
    """Whether `to_srgb` changes no colour of a picture in mode L or RGB; arguments are its own."""
    return _usable(info, mode, path)[1] is None


def _usable(info: Mapping[Any, Any], mode: str, path: Path) -> "tuple[str, ImageCms.ImageCmsTransform | None]":
    """`_transform` of a file's profile; nothing to convert where it has none, or a damaged one, which is said."""
    if "icc_profile" in info and not _is_as_stored(info):
        try:
            return _transform(bytes(info["icc_profile"] or b""), mode)
        except Exception as error:  # LittleCMS and Pillow raise nearly anything for a damaged profile
            _say_once(path, " ".join(str(error).split()) or type(error).__name__)
    return mode, None


def _is_as_stored(info: Mapping[Any, Any]) -> bool:
    comment = info.get("comment")
    return isinstance(comment, bytes) and comment.rstrip(b"\0") == AS_STORED


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> "tuple[str, ImageCms.ImageCmsTransform | None]":
    """The mode of a profile's colours, and what converts them to sRGB: None where they are sRGB already."""
    from PIL import ImageCms

    if not profile:
        raise ValueError("it is damaged")
    found = ImageCms.getOpenProfile(BytesIO(profile))
    space = found.profile.xcolor_space.strip()
    own = {"GRAY": "L"}.get(space, space)
    if own != mode and (own, mode) != ("RGB", "L"):
        raise ValueError(f"it is one for {space}, and the picture is {mode}")
    srgb, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
    # Optimised tables are no faster here, and up to ten levels off in the darks.
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(found, srgb, own, "RGB", intent, flags)
    return own, transform if own == "CMYK" or _moves_colors(transform, own) else None


def _moves_colors(transform: "ImageCms.ImageCmsTransform", mode: str) -> bool:
    """Whether a conversion changes a colour by more than `SAME` levels; mode is L or RGB."""
    steps = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(_STEPS, -1, 3)
    colors = Image.fromarray(np.arange(256, dtype=np.uint8)[None] if mode == "L" else grid)
    moved = ImageChops.difference(_apply(transform, colors), colors.convert("RGB"))
    return bool(np.asarray(moved).max() > SAME)


def _apply(transform: "ImageCms.ImageCmsTransform", colors: Image.Image) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.applyTransform(colors, transform)
    assert converted is not None, "only a conversion in place returns nothing"
    return converted


def _say_once(path: Path, reason: str) -> None:
    if reason not in _said:
        _said.add(reason)
        log.warning("%s: its colour profile cannot be used (%s); its colours are taken as sRGB", path, reason)
