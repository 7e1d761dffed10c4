"""Pictures as people hold them, in and out: a file, Pillow, numpy or torch in; what was restored out.

Knows how each becomes the pixels of the package (`images/io.py`). Knows nothing of models.

Shape legend: H W restored picture [px], h w source [px] or cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from lit_pure.config.data import LEAST_LQ_SIDE
from lit_pure.files.atomic import whole_file
from lit_pure.images.checks import require_picture
from lit_pure.images.io import from_bytes, read_image, write_png
from lit_pure.restoring.contract import CellMap, Words
from lit_pure.restoring.folder import map_picture
from lit_pure.restoring.photo import RestoredPhoto

Photo = str | PathLike[str] | Image.Image | NDArray[np.generic] | Tensor
"""One picture: the path of a file; a picture of Pillow; an array (h, w), (h, w, 3) or (h, w, 4), uint8 or float in
[0, 1]; or a tensor (3, h, w), uint8 or float in [0, 1]."""
UNNAMED = "photo"
"""What is not a file is named so: names decide what is drawn."""


def as_photo(photo: Photo) -> tuple[Tensor, str]:
    """The picture (3, h, w), float32 in [0, 1] on the CPU or where a tensor was, upright, and the name of its file.

    Raises ValueError where it is no picture, BadImage where a file cannot be read.
    """
    if isinstance(photo, str | PathLike):
        path = Path(photo)
        return read_image(path), path.name
    if isinstance(photo, Image.Image):
        return _of_pillow(photo), Path(getattr(photo, "filename", "") or UNNAMED).name
    if isinstance(photo, np.ndarray):
        return _of_array(photo), UNNAMED
    if isinstance(photo, Tensor):
        photo_3hw = from_bytes(photo) if photo.dtype == torch.uint8 else photo.float()
        require_picture(photo_3hw, "photograph")
        return photo_3hw, UNNAMED
    raise ValueError(
        f"a photograph is a path, a picture of Pillow, an array or a tensor, not {type(photo).__name__}; "
        "give several as a list"
    )


def require_large_enough(photo_3hw: Tensor, name: str) -> None:
    """Raise ValueError for a photograph that is too small to restore."""
    height, width = photo_3hw.shape[-2:]
    if min(height, width) < LEAST_LQ_SIDE:
        raise ValueError(f"{name}: {height} x {width} px is too small; the shorter side must have {LEAST_LQ_SIDE} px")


@dataclass(frozen=True)
class RestoredImage:
    """One restored photograph. In a notebook it shows its picture."""

    name: str
    """Of the photograph's file."""
    photo: RestoredPhoto
    """All that is known of it: also the words of each tile, tokens and seconds."""

    @property
    def image(self) -> Image.Image:
        """The restored picture, for Pillow."""
        return _to_pillow(self.photo.pixels_3HW)

    @property
    def tensor(self) -> Tensor:
        """The restored picture (3, H, W), float32 in [0, 1]."""
        return from_bytes(self.photo.pixels_3HW)

    @property
    def words(self) -> Words:
        """What the model wrote, by name: `blur`, `noise` and `caption` of PURE; empty in families without words."""
        return self.photo.words

    @property
    def maps(self) -> Mapping[str, CellMap]:
        """A number for each cell of the picture, by name: `entropy` [nats], and PURE's `k`."""
        return self.photo.maps

    def map_image(self, name: str = "entropy") -> Image.Image:
        """A map as large as the picture, darker where it is higher, with its legend. Raises ValueError without one."""
        drawn = {key: cells for key, cells in self.maps.items() if cells.highest is not None}
        if name not in drawn:
            raise ValueError(f"no map {name!r} to draw; there are {', '.join(drawn) or 'none'}")
        return _to_pillow(map_picture(drawn[name], *self.photo.pixels_3HW.shape[-2:]))

    def save(self, path: str | PathLike[str], **options: object) -> Path:
        """Write the picture, whole or not at all, in the format of the path's extension; returns the path.

        Args:
            path: in an existing folder; a file already there is replaced.
            options: of Pillow's `save`, for example quality=95.

        Raises ValueError for an unknown extension, OSError where it cannot be written.
        """
        file = Path(path)
        kind = Image.registered_extensions().get(file.suffix.lower())
        if kind is None:
            raise ValueError(f"{file}: {file.suffix or 'no extension'} is no format of pictures; name it .png or .jpg")
        if kind == "PNG" and not options:
            write_png(file, self.photo.pixels_3HW)
            return file
        with whole_file(file) as partial:
            self.image.save(partial, format=kind, **options)
        return file

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.image.save(buffer, format="PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        height, width = self.photo.pixels_3HW.shape[-2:]
        return f"RestoredImage({self.name}, {width} x {height} px, words={dict(self.words)}, maps={list(self.maps)})"


def _of_pillow(image: Image.Image) -> Tensor:
    """As the file of such a picture would be read: any mode, alpha, 16 bits, profile, upright."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("CMYK", "YCbCr", "LAB", "HSV", "F", "RGBX", "RGBa", "La"):  # which PNG lacks
        upright = upright.convert("RGBA" if upright.mode in ("RGBa", "La") else "RGB")
    buffer = BytesIO()
    upright.save(buffer, format="PNG", compress_level=0)
    buffer.seek(0)
    return read_image(Path(UNNAMED), buffer)


def _of_array(array: NDArray[np.generic]) -> Tensor:
    shape = array.shape
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))) or 0 in shape:
        remedy = "; the channels come last: array.transpose(1, 2, 0)" if len(shape) == 3 and shape[0] in (1, 3) else ""
        raise ValueError(f"an array of a photograph is (h, w), (h, w, 3) or (h, w, 4), not {shape}{remedy}")
    if array.dtype == np.uint8:
        return _of_pillow(Image.fromarray(array[..., 0] if shape[-1] == 1 and len(shape) == 3 else array))
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"an array of a photograph is uint8, or float in [0, 1], not {array.dtype}; divide it first")
    photo_hwc = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    photo_chw = (photo_hwc[..., None] if len(shape) == 2 else photo_hwc).permute(2, 0, 1)
    photo_3hw = photo_chw.expand(3, -1, -1) if len(photo_chw) == 1 else photo_chw[:3]
    require_picture(photo_3hw, "photograph")
    if len(photo_chw) == 4:  # on white, as files with alpha
        photo_3hw = photo_3hw * photo_chw[3:] + (1 - photo_chw[3:])
    return photo_3hw.contiguous()


def _to_pillow(pixels_3HW: Tensor) -> Image.Image:
    return Image.fromarray(pixels_3HW.permute(1, 2, 0).contiguous().cpu().numpy())
