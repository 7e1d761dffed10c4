"""What is dropped is refused by its header, in words for who sees the page."""

from pathlib import Path

import numpy as np
import pytest

from lit_pure.app.uploads import check_upload, read_upload
from lit_pure.images.io import BadImage
from tests.app import pictures

MOST = 500_000


def refusal(upload: Path) -> str:
    with pytest.raises(BadImage) as error:
        check_upload(upload, MOST)
    assert str(upload.parent) not in str(error.value)  # nobody who sees the page needs to know our folders
    return str(error.value)


def test_a_photograph_is_taken_upright(tmp_path):
    jpeg = pictures.make_rotated_jpeg(tmp_path / "cat.jpg", 40, 24)
    assert check_upload(jpeg, MOST) == (40, 24)
    read = read_upload(jpeg).permute(1, 2, 0).numpy() * 255
    assert np.abs(read - pictures.photograph(40, 24)).mean() < 6  # JPEG's loss; turned wrongly it is 40 and more


def test_text_is_no_picture(tmp_path):
    said = refusal(pictures.make_text(tmp_path / "letter.png"))
    assert said.startswith("letter.png: not a picture") and "drop a photograph" in said


def test_80_megapixels_are_refused_before_they_are_decoded(tmp_path):
    huge = pictures.make_80_megapixels(tmp_path / "huge.png")
    with pytest.raises(BadImage, match="damaged|broken|truncated|decompress"):
        read_upload(huge)
    said = refusal(huge)
    assert "10,000 x 8,000 px are 80.0 million pixels" in said and "at most 500,000" in said
    assert "--max-pixels 80000000" in said
    assert check_upload(huge, 80_000_000) == (8_000, 10_000)


def test_a_speck_and_a_file_that_is_gone(tmp_path):
    assert "too small" in refusal(pictures.make_png(tmp_path / "speck.png", 3, 40))
    assert "drop it again" in refusal(tmp_path / "gone.png")
