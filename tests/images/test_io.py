"""Files in every mode, and every way in which reading and writing fails."""

import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.images.io import BadImage, from_bytes, image_size, read_bytes, read_image, to_bytes, write_png


def picture(height: int = 24, width: int = 36) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_png_round_trip_is_exact(tmp_path: Path) -> None:
    image_3HW = from_bytes(torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0)))
    write_png(tmp_path / "a.png", image_3HW)
    read_3HW = read_image(tmp_path / "a.png")
    assert torch.equal(read_3HW, image_3HW)
    assert read_3HW.dtype == torch.float32 and read_3HW.is_contiguous()
    assert image_size(tmp_path / "a.png") == (5, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_pictures_of_every_mode_are_read_as_pillow_shows_them(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    source = picture().convert(mode)
    packed = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}  # Pillow 12 cannot read this mode bare
    source.save(path, **packed)
    with Image.open(path) as shown:
        expected = np.asarray(shown.convert("RGB"), dtype=np.float32) / 255
    np.testing.assert_allclose(read_image(path).permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_cmyk_jpeg_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    color_3 = read_image(tmp_path / "a.jpg").mean((1, 2))
    assert color_3.numpy() == pytest.approx(np.array([200, 40, 40]) / 255, abs=0.03)


@pytest.mark.parametrize(("name", "kind"), [("a.png", np.uint16), ("a.tif", np.uint16), ("i.tif", np.int32)])
def test_sixteen_bit_grey_keeps_its_range(name: str, kind: Any, tmp_path: Path) -> None:
    grey_HW = np.array([[0, 1, 32768], [65535, 300, 65534]], dtype=kind)
    Image.fromarray(grey_HW).save(tmp_path / name)
    image_3HW = read_image(tmp_path / name)
    assert image_3HW.shape == (3, 2, 3)
    np.testing.assert_allclose(image_3HW[1].numpy(), grey_HW / 65535, atol=1e-7)


def test_big_endian_sixteen_bit_is_not_swapped(tmp_path: Path) -> None:
    header = b"P5 2 1 65535\n"
    (tmp_path / "a.pgm").write_bytes(header + (256).to_bytes(2, "big") + (65535).to_bytes(2, "big"))
    np.testing.assert_allclose(read_image(tmp_path / "a.pgm")[0, 0].numpy(), [256 / 65535, 1], atol=1e-7)


@pytest.mark.parametrize("values", [np.array([[70000]], np.int32), np.array([[0.5]], np.float32)])
def test_pictures_whose_values_have_no_agreed_range_are_refused(values: Any, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match="8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def test_alpha_is_blended_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = torch.tensor([[1.0, 0, 0], [1, 1, 1], [0.8, 0.8, 0.8]]).T[:, None]
    torch.testing.assert_close(read_image(tmp_path / "a.png"), expected)


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "a.png", transparency=0)
    torch.testing.assert_close(read_image(tmp_path / "a.png")[:, 0], torch.tensor([[1.0, 1], [1, 0], [1, 0]]))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_rotation_turns_pixels_and_size(name: str, orientation: int, turns: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation  # upright after so many quarter turns to the left
    gradient = Image.linear_gradient("L").resize((36, 24)).convert("RGB")  # bright below
    gradient.save(tmp_path / name, exif=exif)
    image_3HW = read_image(tmp_path / name)
    assert image_size(tmp_path / name) == tuple(image_3HW.shape[1:]) == ((36, 24) if turns % 2 else (24, 36))
    expected = np.rot90(np.asarray(gradient), turns).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(image_3HW.numpy(), expected, atol=0.05)  # JPEG and WebP lose a little


def test_a_picture_of_one_pixel_is_written_and_read(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", torch.zeros(3, 1, 1))
    assert read_image(tmp_path / "a.png").tolist() == [[[0.0]]] * 3


def test_bad_picture_files_are_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello\n" * 20)
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("text.png", "empty.jpg", "absent.png"):
        for reader in (read_image, image_size):
            with pytest.raises(BadImage) as caught:
                reader(tmp_path / name)
            assert name in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) > len(name)
    with pytest.raises(BadImage, match="directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.bmp"])
def test_truncated_pictures_are_refused_though_the_header_is_fine(name: str, tmp_path: Path) -> None:
    picture(64, 64).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    if name in ("a.jpg", "a.png", "a.bmp"):
        assert image_size(tmp_path / name) == (64, 64)
    with pytest.raises(BadImage, match=name):
        read_image(tmp_path / name)


def test_to_bytes_rounds_clamps_and_refuses() -> None:
    assert to_bytes(torch.tensor([-0.5, 0.0, 0.6 / 255, 0.4 / 255, 1.0, 2.0])).tolist() == [0, 0, 1, 0, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(from_bytes(every)), every)
    with pytest.raises(ValueError, match="1 of 2"):
        to_bytes(torch.tensor([0.5, float("nan")]))
    with pytest.raises(ValueError, match="uint8"):
        to_bytes(every)


def test_writing_on_a_full_disk_is_an_error_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "a.png", torch.ones(3, 4, 4))
    save = Image.Image.save

    def full(self: Image.Image, path: Path, **options: Any) -> None:
        save(self, path, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="free some space") as caught:
        write_png(tmp_path / "a.png", torch.zeros(3, 4, 4))
    assert caught.value.errno == errno.ENOSPC and "a.png" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert read_image(tmp_path / "a.png").min() == 1  # the old picture survives


def test_write_png_refuses_batches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\)"):
        write_png(tmp_path / "a.png", torch.zeros(1, 3, 4, 4))
    with pytest.raises(OSError, match="No such file"):
        write_png(tmp_path / "absent" / "a.png", torch.zeros(3, 4, 4))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_read_bytes_gives_what_read_image_gives_as_bytes(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    source = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 109) if mode == "I;16" else picture()
    (source if mode == "I;16" else source.convert(mode)).save(path)
    read_3HW = read_bytes(path)
    assert read_3HW.dtype == torch.uint8 and torch.equal(read_3HW, to_bytes(read_image(path)))
    with path.open("rb") as file:
        assert torch.equal(read_bytes(Path("elsewhere"), file), read_3HW)
        file.seek(0)
        assert image_size(Path("elsewhere"), file) == read_3HW.shape[1:]
    with pytest.raises(BadImage, match="elsewhere: not a picture"):
        read_bytes(Path("elsewhere"), io.BytesIO(b"text"))
