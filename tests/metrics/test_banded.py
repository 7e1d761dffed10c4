"""Bands of rows give pyiqa's figures, in memory that does not grow with the height."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_pure.metrics.banded import ROWS, Niqe, Ssim
from lit_pure.metrics.offline import build_network
from lit_pure.metrics.score import Scorer
from lit_pure.metrics.table import METRICS


def pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    """8-bit levels in float64: a smooth picture with flat areas, and the same with noise."""
    generator = torch.Generator().manual_seed(height + width)
    coarse = torch.rand(2, 3, height // 8 + 2, width // 8 + 2, generator=generator, dtype=torch.float64)
    target = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0.3, 0.7)
    noise = 0.02 * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    noise[..., : width // 2] = 0
    return tuple((one * 255).round() / 255 for one in (target + noise, target))  # type: ignore[return-value]


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that any step makes."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        made = function(*arguments, **(options or {}))
        own = [one for one in tree_leaves(made) if isinstance(one, Tensor) and not one._is_view()]
        self.elements = max([self.elements, *(one.numel() for one in own)])
        return made


@pytest.mark.parametrize(("height", "width"), [(11, 11), (11 + ROWS - 1, 40), (11 + ROWS, 40), (150, 203)])
@pytest.mark.parametrize("luma", [True, False])
def test_ssim_is_pyiqa_s_for_any_number_of_bands(height: int, width: int, luma: bool) -> None:
    import pyiqa

    options = METRICS["ssim" if luma else "ssim-rgb"].options
    whole: nn.Module = pyiqa.create_metric("ssim", device=torch.device("cpu"), **options).net
    pred, target = pair(height, width)
    torch.testing.assert_close(Ssim(luma)(pred, target), whole(pred, target), rtol=0, atol=2e-9)
    assert Ssim(luma)(target, target).tolist() == pytest.approx([1, 1], abs=1e-12)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (100, 250), (300, 203)])
def test_niqe_is_pyiqa_s_for_any_number_of_bands(height: int, width: int) -> None:
    banded = build_network(METRICS["niqe"])
    assert isinstance(banded, Niqe)
    pred, _ = pair(height, width)
    with torch.no_grad():
        expected = banded._whole(pred).reshape(2)
        torch.testing.assert_close(banded(pred), expected, rtol=0, atol=1e-8)


def test_a_ssim_does_not_depend_on_its_batch() -> None:
    pred, target = pair(100, 64)
    ssim, scorer = Ssim(True), Scorer("ssim")
    alone = torch.cat([ssim(pred[[index]], target[[index]]) for index in (0, 1)])
    torch.testing.assert_close(ssim(pred, target), alone, rtol=0, atol=1e-14)
    assert torch.equal(scorer.scores(pred, target), alone)


@pytest.mark.parametrize(("key", "rows"), [("ssim", ROWS), ("niqe", 96)])
def test_what_a_step_makes_does_not_grow_with_the_height(key: str, rows: int) -> None:
    network = build_network(METRICS[key])
    elements = []
    for bands in (3, 9):
        images = [torch.rand(1, 3, bands * rows, 96, dtype=torch.float64)] * (2 if key == "ssim" else 1)
        with torch.no_grad(), Largest() as largest:  # type: ignore[no-untyped-call]
            network(*images)
        elements.append(largest.elements)
    assert elements[1] <= max(elements[0], bands * rows * 96), "one map of the whole picture at most"
