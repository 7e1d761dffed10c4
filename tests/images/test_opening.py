"""Pictures whose pixels are whole, beside chunks, EXIF and sizes that Pillow refuses."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.images import opening
from lit_pure.images.io import BadImage, image_size, read_bytes
from tests.images.encoded import SIGNATURE, chunk, exif, png

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
BOMB = zlib.compress(bytes(2**21))


def read(content: bytes) -> np.ndarray:
    """`(H, W, 3)`, after the header was found to say the same size."""
    pixels_3HW = read_bytes(Path("a"), io.BytesIO(content))
    assert image_size(Path("a"), io.BytesIO(content)) == pixels_3HW.shape[1:]
    return pixels_3HW.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    "side",
    [
        chunk(b"zTXt", b"Comment\0\0" + BOMB),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
        b"".join(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20 - 1))) for _ in range(70)),  # more than 64 MB
        chunk(b"tIME", bytes(7), damaged=True),
        chunk(b"gAMA", b"\0"),
        chunk(b"eXIf", b"II*\0 no EXIF"),
        chunk(b"iCCP", b"wide\0\0" + BOMB),
        chunk(b"iCCP", b"wide\0\7" + BOMB),
    ],
    ids=["zTXt", "iTXt", "many", "checksum", "short", "EXIF", "large profile", "unknown compression"],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_what_stands_beside_the_pixels_of_a_png_refuses_nothing(side: bytes) -> None:
    np.testing.assert_array_equal(read(png(PIXELS, side)), PIXELS)
    np.testing.assert_array_equal(read(png(PIXELS, behind=side)), PIXELS)


def test_damaged_pixels_of_a_png_are_refused_still() -> None:
    whole = png(PIXELS)
    for damaged in (whole[: len(whole) // 2], whole.replace(b"IHDR", b"iHDR"), png(PIXELS, chunk(b"IHDR", b"x"))):
        with pytest.raises(BadImage):
            read(damaged)


@pytest.mark.parametrize(("where", "turned"), [("before", True), ("behind", False)])
def test_an_orientation_behind_the_pixels_of_a_png_counts_nowhere(where: str, turned: bool) -> None:
    turn = chunk(b"eXIf", exif(6))
    content = png(PIXELS, turn) if where == "before" else png(PIXELS, behind=turn)
    np.testing.assert_array_equal(read(content), np.rot90(PIXELS, -1) if turned else PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_turns_as_pillow_does(orientation: int) -> None:
    from PIL import ImageOps

    content = png(PIXELS, chunk(b"eXIf", exif(orientation)))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(read(content), np.asarray(upright))


@pytest.mark.parametrize(
    ("tag", "kind", "data"),
    [
        (0x011A, 10, struct.pack("<ii", -1, 1)),  # XResolution, a negative rational
        (0x0132, 5, struct.pack("<II", 1, 2)),  # DateTime, a rational
        (0x011A, 5, struct.pack("<II", 1, 0)),  # XResolution, divided by zero
        (0x8769, 4, b""),  # an IFD behind the end
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "PNG"])
def test_a_turned_picture_with_an_odd_value_in_its_exif_is_read(tag: int, kind: int, data: bytes, form: str) -> None:
    written = io.BytesIO()
    Image.new("RGB", (48, 32), "red").save(written, form, exif=b"Exif\0\0" + exif(6, tag, kind, data))
    assert read(written.getvalue()).shape == (48, 32, 3)


def test_a_phone_of_200_megapixels_is_no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16320, 12240, 8, 2, 0, 0, 0))
    content = SIGNATURE + head + chunk(b"IDAT") + chunk(b"IEND")
    monkeypatch.setattr(opening, "most_pixels", lambda: 2**30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(Path("a"), io.BytesIO(content)) == (12240, 16320)
    monkeypatch.setattr(opening, "most_pixels", lambda: 10**8)
    for reader in (image_size, read_bytes):
        with pytest.raises(BadImage, match="a: 12240 x 16320 px are more than the 100,000,000 pixels .* cut it"):
            reader(Path("a"), io.BytesIO(content))


def test_the_largest_picture_follows_from_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    assert opening.most_pixels() == 2**32 // 40
    pages["SC_PHYS_PAGES"] = 2**30
    assert opening.most_pixels() == opening.MOST_PIXELS
    monkeypatch.delattr("os.sysconf")
    assert opening.most_pixels() == opening.MOST_PIXELS


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "blue")]
    for name in ("a.png", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert torch.equal(read_bytes(tmp_path / name)[:, 0, 0], torch.tensor([255, 0, 0], dtype=torch.uint8))
