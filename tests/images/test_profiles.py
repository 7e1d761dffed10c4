"""Colour profiles: those that change nothing, those that are converted, and those that cannot be used."""

import io
import logging
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lit_pure.images import profiles
from lit_pure.images.io import read_bytes, read_image
from tests.images.encoded import chunk, linear_gray, png, red_is_green, srgb

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def read(content: bytes, name: str = "a.png") -> np.ndarray:
    return read_bytes(Path(name), io.BytesIO(content)).permute(1, 2, 0).numpy().astype(int)


def encoded(form: str, profile: bytes | None, mode: str = "RGB") -> bytes:
    written = io.BytesIO()
    picture = Image.fromarray(PIXELS).convert(mode)
    picture.save(written, form, icc_profile=profile, lossless=True)
    return written.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_picture_in_srgb_keeps_its_pixels_and_another_is_converted(form: str) -> None:
    bare = read(encoded(form, None))
    np.testing.assert_array_equal(read(encoded(form, srgb())), bare)
    assert np.abs(read(encoded(form, red_is_green())) - bare[..., [1, 0, 2]]).max() <= 1


def test_the_srgb_of_cameras_keeps_its_pixels() -> None:
    """A table of 1,024 points, as most cameras write it: LittleCMS's own is a formula."""
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as file:
        profile = file.info["icc_profile"]
    np.testing.assert_array_equal(read(encoded("PNG", profile)), PIXELS)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L"])
def test_colours_of_every_mode_are_converted(mode: str) -> None:
    bare = read(encoded("PNG", None, mode))
    assert np.abs(read(encoded("PNG", red_is_green(), mode)) - bare[..., [1, 0, 2]]).max() <= 1


def test_alpha_is_no_colour() -> None:
    rgba_HW4 = np.dstack([PIXELS, PIXELS[..., 0]])
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(red_is_green()))
    assert np.abs(read(png(rgba_HW4, profile)) - read(png(rgba_HW4))[..., [1, 0, 2]]).max() <= 1


def test_grey_levels_in_proportion_to_light_become_those_of_srgb() -> None:
    gray = read(encoded("PNG", linear_gray(), "L"))
    light = np.asarray(Image.fromarray(PIXELS).convert("L")) / 255
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(gray - expected[..., None]).max() <= 1


def test_sixteen_bits_keep_their_precision_unless_they_are_converted() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (16, 24, 3)).astype(np.uint16)
    same, other = (
        read_image(Path("a"), io.BytesIO(png(values, chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)))))
        for profile in (srgb(), red_is_green())
    )
    expected = values.transpose(2, 0, 1) / 65535
    np.testing.assert_allclose(same.numpy(), expected, atol=1e-7)
    np.testing.assert_allclose(other.numpy(), expected[[1, 0, 2]], atol=1.6 / 255)


@pytest.mark.parametrize("profile", [b"no profile", srgb()[:300], linear_gray()], ids=["text", "cut", "grey"])
def test_a_profile_that_cannot_be_used_is_ignored_and_said_once(
    profile: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "_said", set())
    with caplog.at_level(logging.WARNING):
        for name in ("a.png", "b.png"):
            np.testing.assert_array_equal(read(encoded("PNG", profile), name), PIXELS)
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith("a.png: its colour profile cannot be used (") and "\n" not in message


def test_a_damaged_profile_chunk_is_said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_said", set())
    read(png(PIXELS, chunk(b"iCCP", b"p\0\0no zlib")))
    read(png(PIXELS, chunk(b"iCCP", b"p\0\0" + srgb(), damaged=True)))
    assert [record.getMessage() for record in caplog.records] == [
        "a.png: its colour profile cannot be used (it is damaged); its colours are taken as sRGB"
    ]


def test_the_demo_s_rocket_is_read_as_it_is_stored_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures are published with the numbers of `rocket.jpg`, whose profile is Adobe RGB."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / "rocket.jpg"
    with Image.open(path) as file:
        assert "Adobe" in ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(file.info["icc_profile"])))
        stored = np.asarray(file)
    (tmp_path / "copy.jpg").write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in (path, Path("copy.jpg")):
        np.testing.assert_array_equal(read_bytes(name).permute(1, 2, 0).numpy(), stored)


def test_a_folder_named_as_scikit_image_s_is_converted_as_any_other() -> None:
    bare = read(encoded("PNG", None))
    found = read(encoded("PNG", red_is_green()), "/mine/skimage/data/a.png")
    assert np.abs(found - bare[..., [1, 0, 2]]).max() <= 1
