"""Sixteen bits: one rule for every kind of file."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from lit_pure.images.io import BadImage, image_size, read_bytes, read_image
from tests.images.encoded import chunk, exif, png

VALUES = np.random.default_rng(0).integers(0, 65536, (6, 10, 4)).astype(np.uint16)


def check(content: bytes, expected_HW3: np.ndarray) -> None:
    """The picture is what is expected in [0, 1], and as bytes what that is rounded to."""
    read_3HW = read_image(Path("a"), io.BytesIO(content))
    np.testing.assert_allclose(read_3HW.permute(1, 2, 0).numpy(), expected_HW3, atol=2e-5, rtol=0)
    assert image_size(Path("a"), io.BytesIO(content)) == expected_HW3.shape[:2]
    bytes_HW3 = read_bytes(Path("a"), io.BytesIO(content)).permute(1, 2, 0).numpy()
    assert np.abs(bytes_HW3 - expected_HW3 * 255).max() < 0.51


def blended(values_HWC: np.ndarray) -> np.ndarray:
    shares = values_HWC / 65535
    colors, alpha = (shares[..., :-1], shares[..., -1:]) if shares.shape[-1] in (2, 4) else (shares, 1)
    return np.broadcast_to(colors * alpha + 1 - alpha, (*shares.shape[:2], 3))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_png_with_sixteen_bits_is_divided_by_65535(channels: int) -> None:
    values = VALUES[..., :channels]
    check(png(values), blended(values))
    check(png(values, chunk(b"eXIf", exif(6))), np.rot90(blended(values), -1))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("alpha", [None, "unassalpha", "assocalpha"])
def test_every_tiff_with_sixteen_bits_is_divided_by_65535(order: Any, compression: str | None, alpha: Any) -> None:
    values = VALUES if alpha else VALUES[..., :3]
    if alpha == "assocalpha":
        values = np.minimum(values, values[..., 3:])
    written = io.BytesIO()
    options: dict[str, Any] = {"extrasamples": [alpha]} if alpha else {}
    tifffile.imwrite(written, values, byteorder=order, photometric="rgb", compression=compression, **options)
    shares = values[..., :3] / 65535 + 1 - values[..., 3:] / 65535 if alpha == "assocalpha" else blended(values)
    check(written.getvalue(), shares)


def test_every_level_is_rounded_to_the_nearest_byte() -> None:
    ramp_HW3 = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, 2)
    read_3HW = read_bytes(Path("a"), io.BytesIO(png(ramp_HW3)))
    np.testing.assert_array_equal(read_3HW[0].numpy(), np.round(ramp_HW3[..., 0] / 257))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_transparent_colour_of_a_png_is_compared_in_sixteen_bits(channels: int) -> None:
    values = np.full((1, 2, channels), 0x1234, np.uint16)
    values[0, 1] += 1  # the same high byte
    content = png(values, chunk(b"tRNS", b"\x12\x34" * channels))
    check(content, np.array([[[1.0] * 3, [0x1235 / 65535] * 3]]))


def test_sixteen_bits_in_separate_planes_are_refused_as_pillow_misreads_them() -> None:
    written = io.BytesIO()
    tifffile.imwrite(written, VALUES[..., :3].transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    with pytest.raises(BadImage, match="separate planes.*interleaved"):
        read_image(Path("a"), io.BytesIO(written.getvalue()))


def test_cmyk_with_sixteen_bits_is_rounded() -> None:
    written = io.BytesIO()
    tifffile.imwrite(written, VALUES, photometric="separated")
    inks, black = 1 - VALUES[..., :3] / 65535, 1 - VALUES[..., 3:] / 65535
    read_3HW = read_image(Path("a"), io.BytesIO(written.getvalue()))
    np.testing.assert_allclose(read_3HW.permute(1, 2, 0).numpy(), inks * black, atol=1.6 / 255)
