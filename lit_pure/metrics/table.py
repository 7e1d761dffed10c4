"""What each metric is: one row per metric, and a new metric is a new row.

Knows names, directions, ranges and options. Knows nothing of how a score is computed (`score.py`); imports no torch.
Conventions are those of real-world super-resolution papers: PSNR and SSIM on the luma (Y of MATLAB's YCbCr, BT.601
studio range), whole image, no border cut off. With them pyiqa reproduces OSEDiff's published row (arXiv 2406.08177).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MetricInfo:
    """One metric."""

    key: str
    """Name in configurations and in `test/<set>/<key>`."""
    needs_reference: bool
    """Whether a score compares with the true high-quality image."""
    higher_is_better: bool
    """Direction."""
    range: tuple[float, float]
    """Lowest and highest score that occur in practice, for axes and plausibility."""
    pyiqa_name: str
    """What pyiqa calls it."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Options for pyiqa."""
    smallest_side: int = 1
    """Shorter side of the smallest image that has a score [px]."""
    weights: str | None = None
    """File inside the installed basicsr package that holds the fitted numbers; None needs none."""


_Y = {"test_y_channel": True, "color_space": "ycbcr"}

METRICS: dict[str, MetricInfo] = {
    info.key: info
    for info in (
        # pyiqa adds 1e-8 to the squared error: equal images score 80 dB
        MetricInfo("psnr", needs_reference=True, higher_is_better=True, range=(0, 80), pyiqa_name="psnr", options=_Y),
        # the window is 11 px wide
        MetricInfo(
            "ssim",
            needs_reference=True,
            higher_is_better=True,
            range=(0, 1),
            pyiqa_name="ssim",
            options=_Y,
            smallest_side=11,
        ),
        # Fits a Gaussian to blocks of 96 px and drops the rest of the image. Below 192 px there is only one block, and
        # the score lacks a covariance of the image's own: compare such scores among equal sizes only.
        MetricInfo(
            "niqe",
            needs_reference=False,
            higher_is_better=False,
            range=(0, 100),
            pyiqa_name="niqe",
            smallest_side=96,
            weights="metrics/niqe_pris_params.npz",
        ),
    )
}
"""Every metric by its key."""
