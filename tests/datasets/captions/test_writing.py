"""The describer gets the bytes of photographs unchanged."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lit_pure.datasets.captions.sidecar import SidecarWriter
from lit_pure.datasets.captions.writing import caption_files
from lit_pure.images import io


def test_photographs_are_captioned_as_bytes_and_never_become_floats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels_HW3 = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels_HW3).save(tmp_path / "a.png")
    seen: list[Tensor] = []

    def describer(pictures: Sequence[Tensor]) -> list[str]:
        seen.extend(pictures)
        return ["words"] * len(pictures)

    monkeypatch.setattr(io, "from_bytes", None)
    writer = SidecarWriter(tmp_path / "captions.jsonl", {})
    (outcome,) = caption_files(tmp_path, ["a.png"], describer, writer, 1)
    assert not outcome.failures and writer.done == {"a.png"}
    assert torch.equal(seen[0], torch.from_numpy(pixels_HW3).permute(2, 0, 1)) and seen[0].is_contiguous()
