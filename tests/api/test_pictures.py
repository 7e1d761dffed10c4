"""One picture in every form in which people hold it; what is restored, in every form in which they want it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import chelsea

from lit_pure.api.pictures import RestoredImage, as_photo, require_large_enough
from lit_pure.images.io import BadImage, read_bytes, read_image
from lit_pure.restoring.contract import CellMap
from lit_pure.restoring.photo import RestoredPhoto

PIXELS = np.ascontiguousarray(chelsea()[:20, :30])
TENSOR = torch.from_numpy(PIXELS).permute(2, 0, 1)


@pytest.mark.parametrize(
    "form",
    [PIXELS, PIXELS / 255.0, PIXELS.astype(np.float32) / 255, TENSOR, TENSOR / 255, Image.fromarray(PIXELS)],
    ids=["uint8", "float64", "float32", "tensor uint8", "tensor", "Pillow"],
)
def test_every_form_is_the_same_picture(form: object) -> None:
    photo_3hw, name = as_photo(form)  # type: ignore[arg-type]
    assert photo_3hw.dtype == torch.float32 and name == "photo"
    torch.testing.assert_close(photo_3hw, TENSOR / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "I;16"])
def test_a_picture_of_pillow_is_read_as_its_file(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(PIXELS[..., 1]))
    image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    if mode == "YCbCr":  # which only JPEG keeps, with losses
        assert (as_photo(image)[0] - TENSOR / 255).abs().max() < 0.02
        return
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(file)
    torch.testing.assert_close(as_photo(image)[0], read_image(file), rtol=0, atol=0.02 if mode == "CMYK" else 0)


def test_a_picture_of_pillow_is_turned_upright_and_keeps_the_name_of_its_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "side.png", exif=exif)
    opened, name = as_photo(Image.open(tmp_path / "side.png"))
    assert name == "side.png" and opened.shape == (3, 30, 20)
    assert torch.equal(opened, as_photo(tmp_path / "side.png")[0])


def test_arrays_may_be_grey_or_have_alpha() -> None:
    grey = PIXELS[..., 0]
    for form in (grey, grey[..., None], grey / 255, grey[..., None] / 255):
        torch.testing.assert_close(as_photo(form)[0], torch.from_numpy(grey / 255).float().expand(3, -1, -1))
    clear = np.dstack([PIXELS, np.zeros_like(grey)])
    for form in (clear, clear / 255):
        assert as_photo(form)[0].min() == 1, "on white"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (PIXELS.transpose(2, 0, 1), r"not \(3, 20, 30\); the channels come last: array.transpose\(1, 2, 0\)"),
        (PIXELS.astype(np.int64), "uint8, or float in .0, 1., not int64"),
        (PIXELS.astype(np.float32), r"found values in 102 \.\. 189; divide them by 255"),
        (TENSOR.permute(1, 2, 0) / 255, "the channels come first"),
        (TENSOR[None], "expected a picture"),
        (3, "a path, a picture of Pillow, an array or a tensor, not int"),
        (np.zeros((0, 4)), r"not \(0, 4\)"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_remedy(form: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        as_photo(form)  # type: ignore[arg-type]


def test_files_that_cannot_be_read_and_photographs_that_are_too_small_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="absent.png: no such file"):
        as_photo(str(tmp_path / "absent.png"))
    with pytest.raises(ValueError, match="a.png: 7 x 30 px is too small"):
        require_large_enough(torch.zeros(3, 7, 30), "a.png")


def restored() -> RestoredImage:
    cells = CellMap(torch.rand(4, 6), "nats", 5, 8.0)
    photo = RestoredPhoto(
        TENSOR, {"caption": "A cat."}, {"entropy": cells, "k": CellMap(torch.ones(4, 6), "", 5)}, 9, 1.0, []
    )
    return RestoredImage("cat.png", photo)


def test_what_is_restored_is_at_hand_in_every_form(tmp_path: Path) -> None:
    found = restored()
    assert (np.asarray(found.image) == PIXELS).all() and torch.equal(found.tensor, TENSOR / 255)
    assert found.words["caption"] == "A cat." and found.maps["entropy"].unit == "nats"
    assert found.map_image().height == 20 and found.map_image().width > 30, "with its legend"
    with pytest.raises(ValueError, match="no map 'k' to draw; there are entropy"):
        found.map_image("k")
    assert found._repr_png_().startswith(b"\x89PNG") and "cat.png, 30 x 20 px" in repr(found)


def test_a_picture_is_saved_in_the_format_of_its_name(tmp_path: Path) -> None:
    found = restored()
    for name in ("a.png", "b.WEBP", "c.tif"):
        path = found.save(tmp_path / name, **({"lossless": True} if "W" in name else {}))
        assert torch.equal(read_bytes(path), TENSOR)
    best, worst = (found.save(str(tmp_path / f"{quality}.jpg"), quality=quality) for quality in (95, 5))
    assert best.stat().st_size > worst.stat().st_size and Image.open(best).format == "JPEG"
    with pytest.raises(ValueError, match=r"a.gfi: .gfi is no format of pictures; name it .png or .jpg"):
        found.save(tmp_path / "a.gfi")
    with pytest.raises(OSError):
        found.save(tmp_path / "absent" / "a.jpg")
    assert not list(tmp_path.glob("*.tmp"))
