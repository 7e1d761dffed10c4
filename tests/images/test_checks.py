"""Every mistake with pixels is named with its remedy, and the remedy helps."""

from typing import Any

import numpy as np
import pytest
import torch

from lit_pure.images.checks import require_batch, require_picture

PICTURE = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(0))


def test_right_pictures_pass_in_every_precision() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        require_picture(PICTURE.to(dtype), "x")
        require_batch(PICTURE[None].to(dtype), "x")
    require_picture(PICTURE * (1 + 5e-7), "x")
    require_picture(torch.zeros(3, 1, 1).expand(3, 10**7, 10**7), "x")  # without a look at every repetition


@pytest.mark.parametrize(
    ("wrong", "remedy", "mended"),
    [
        ((PICTURE * 255).byte(), "from_bytes", lambda x: x / 255),
        (PICTURE * 255, "5.693 .. 254.3; divide them by 255", lambda x: x / 255),
        (PICTURE * 65535, "divide them by 65535", lambda x: x / 65535),
        (PICTURE * 2 - 1, r"take \(image \+ 1\) / 2", lambda x: (x + 1) / 2),
        (PICTURE * 1.5, r"clamp them to \[0, 1\]", lambda x: x.clamp(0, 1)),
        (PICTURE[None], r"images\[0\]", lambda x: x[0]),
        (PICTURE[:1], r"image.repeat_interleave\(3, -3\)", lambda x: x.repeat_interleave(3, -3)),
        (PICTURE[0], r"image.expand\(3, -1, -1\)$", lambda x: x.expand(3, -1, -1)),
        (torch.cat([PICTURE, PICTURE[:1]]), r"image\[..., :3, :, :\]", lambda x: x[..., :3, :, :]),
        (PICTURE.permute(1, 2, 0), r"image.movedim\(-1, -3\)", lambda x: x.movedim(-1, -3)),
        (PICTURE.numpy(), "found ndarray; .*torch.from_numpy", torch.from_numpy),
    ],
)
def test_a_wrong_picture_is_refused_and_the_remedy_helps(wrong: Any, remedy: str, mended: Any) -> None:
    with pytest.raises(ValueError, match=rf"^mine: expected a picture \(3, H, W\) float in \[0, 1\], .*{remedy}"):
        require_picture(wrong, "mine")
    require_picture(mended(wrong), "mine")


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (PICTURE, r"image\[None\]"),
        (PICTURE[0], r"image.expand\(3, -1, -1\)\[None\]"),
        (PICTURE[None, :1], "repeat grey"),
        (torch.empty(0, 3, 4, 4), "it is empty"),
        (PICTURE[None] / 0, "nan .. nan|inf .. inf; find where"),
        (PICTURE[None].masked_fill(PICTURE[None] > 0.9, torch.nan), "nan; find where"),
        (torch.rand(1, 1, 3, 4, 4), "RGB in this shape"),
        (list(np.zeros((3, 4, 4))), "found list"),
    ],
)
def test_a_wrong_batch_is_refused(wrong: Any, remedy: str) -> None:
    with pytest.raises(ValueError, match=rf"^mine: expected a batch \(B, 3, H, W\).*{remedy}"):
        require_batch(wrong, "mine")
