"""Scores of images, by pyiqa, averaged by torchmetrics.

Knows how to build and feed one metric of `table.py` without network access and without chatter on the terminal. Knows
nothing of data sets, files of images or tables of results. pyiqa takes seconds to import, so it is imported when the
first metric is made.

Suffixes: B images, 3 RGB, H height, W width.
"""

import importlib.util
import logging
import tempfile
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lit_pure.metrics.table import METRICS, MetricInfo

TOLERANCE = 1e-6
"""How far a pixel may lie outside [0, 1]: rounding, nothing more."""


class NotScorable(ValueError):
    """An image that a metric has no finite score for, such as NIQE of a single flat colour."""


class ImageMetric(Metric):
    """The mean score of all images seen, over all processes.

    Computed in float64 whatever autocast and matmul precision say. Published numbers are those of 8-bit files: to
    compare with them, give pixels that went through `images.io.to_bytes`. `info` holds the direction and range.

    Args:
        key: a metric of `table.METRICS`.

    Raises:
        ValueError: no such metric.
        ImportError: a package that the metric needs is not installed.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, key: str) -> None:
        super().__init__()
        if key not in METRICS:
            near = get_close_matches(key, METRICS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}"
            raise ValueError(f"no such metric: {key}; {hint}")
        self.info = METRICS[key]
        self._network = _network(self.info)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, pred_B3HW: Tensor, target_B3HW: Tensor | None = None) -> None:
        """Score a batch and remember the sum; arguments and errors as in `scores`."""
        score_B = self.scores(pred_B3HW, target_B3HW)
        self.total += score_B.sum().to(self.total)
        self.count += len(score_B)

    def compute(self) -> Tensor:
        """Mean score, NaN before the first image; a scalar."""
        return self.total / self.count

    def scores(self, pred_B3HW: Tensor, target_B3HW: Tensor | None = None) -> Tensor:
        """One score per image, remembered nowhere.

        Args:
            pred_B3HW: images to judge, in [0, 1].
            target_B3HW: the true images, in [0, 1]; ignored by metrics without reference.

        Returns:
            `(B,)` float64, in the unit of the metric (PSNR: dB).

        Raises:
            NotScorable: an image has no finite score.
            ValueError: shapes, sizes or pixel values are not what the metric needs.
        """
        self._check(pred_B3HW, "pred")
        images = [_exact(pred_B3HW)]
        if self.info.needs_reference:
            if target_B3HW is None:
                raise ValueError(f"{self.info.key} compares with a reference; give target_B3HW")
            self._check(target_B3HW, "target")
            if pred_B3HW.shape != target_B3HW.shape:
                raise ValueError(
                    f"{self.info.key}: pred {tuple(pred_B3HW.shape)} and target {tuple(target_B3HW.shape)} differ"
                )
            images.append(_exact(target_B3HW))
        try:
            with torch.no_grad():
                score_B: Tensor = self._network(*images).reshape(-1)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise NotScorable(f"{self.info.key} has no finite score for an image of this batch (flat?)") from error
        if bad := torch.nonzero(~torch.isfinite(score_B)).flatten().tolist():
            raise NotScorable(f"{self.info.key} has no finite score for images {bad} of this batch (flat?)")
        return score_B

    def _check(self, image_B3HW: Tensor, name: str) -> None:
        """ValueError unless these are images of the pixel contract that the metric can score."""
        shape, key, least = tuple(image_B3HW.shape), self.info.key, self.info.smallest_side
        if len(shape) != 4 or shape[1] != 3 or not image_B3HW.is_floating_point() or not image_B3HW.numel():
            raise ValueError(f"{key}: expected {name} (B, 3, H, W) float in [0, 1], found {shape} {image_B3HW.dtype}")
        if min(shape[2:]) < least:
            raise ValueError(f"{key}: {name} is {shape[2]} x {shape[3]} px; the smallest side it scores is {least} px")
        low, high = image_B3HW.min().item(), image_B3HW.max().item()
        if not (-TOLERANCE <= low and high <= 1 + TOLERANCE):  # false for NaN, too
            raise ValueError(f"{key}: {name} has values in {low:.4g} .. {high:.4g}; clamp them to [0, 1]")


def niqe_parameters() -> Path:
    """The file of NIQE's pristine model, which basicsr ships; found without importing basicsr (slow).

    Raises:
        ImportError: basicsr is not installed, or is without the file.
    """
    return _basicsr_file(str(METRICS["niqe"].weights))


def _basicsr_file(name: str) -> Path:
    """A file inside the installed basicsr package."""
    spec = importlib.util.find_spec("basicsr")
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ImportError(f"basicsr's {name} is missing; install this project with `make setup`")
    return path


def _network(info: MetricInfo) -> nn.Module:
    """pyiqa's module for a metric, which maps batches of images to scores."""
    logging.getLogger("pyiqa").setLevel(logging.WARNING)  # it announces every metric on the terminal
    try:
        import pyiqa
    except ImportError as error:
        raise ImportError(f"pyiqa cannot be imported ({error}); install this project with `make setup`") from error

    options, cpu = dict(info.options), torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        if info.weights is not None:  # otherwise pyiqa would download them
            options["pretrained_model_path"] = _matlab_file(_basicsr_file(info.weights), Path(folder))
        network: nn.Module = pyiqa.create_metric(info.pyiqa_name, device=cpu, **options).net
    return network


def _matlab_file(parameters: Path, folder: Path) -> str:
    """A copy of basicsr's numbers in the format and under the names that pyiqa reads."""
    from scipy.io import savemat

    with np.load(parameters) as numbers:
        renamed = {"mu_prisparam": numbers["mu_pris_param"], "cov_prisparam": numbers["cov_pris_param"]}
    path = folder / "parameters.mat"
    savemat(path, renamed)
    return str(path)


def _exact(image: Tensor) -> Tensor:
    """float64, which neither autocast nor TF32 touch; Apple's GPUs have none, so there the CPU computes."""
    image = image.detach()
    return (image.cpu() if image.device.type == "mps" else image).double().clamp(0, 1)
