"""The table of metrics: one row per metric; a new metric is a new row.

Knows names, directions, ranges, options, and which weights files a metric reads. Knows nothing of where those files are
(`files.py`) or of how a score is computed (`score.py`); imports no torch.

Conventions are those of real-world super-resolution papers: PSNR and SSIM on the luma (Y of MATLAB's YCbCr, BT.601
studio range), whole image, no border cut off. With them pyiqa reproduces OSEDiff's published row (arXiv 2406.08177).
Variants that papers confuse have their own rows: `musiq-spaq` is another network than `musiq`, on nearly the same
scale.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

Place = Literal["pyiqa", "checkpoints", "clip", "basicsr"]


@dataclass(frozen=True)
class WeightsFile:
    """One file that a metric reads."""

    name: str
    """File name as its reader writes it (pyiqa keeps %2B); for basicsr the path inside the package."""
    url: str
    """Where it is published; empty where a package contains it."""
    place: Place
    """Folder below torch's hub folder where pyiqa, torchvision or pyiqa's CLIP look for it; or the package basicsr."""
    sha256: str
    """First digits of the digest, as published; empty where none is published."""


@dataclass(frozen=True)
class MetricInfo:
    """One metric."""

    key: str
    """Name in configurations and in `test/<set>/<key>`."""
    label: str
    """Name in tables."""
    needs_reference: bool
    """Whether a score compares with the true high-quality image."""
    higher_is_better: bool
    """Direction."""
    range: tuple[float, float]
    """Lowest and highest score in practice, for axes and plausibility."""
    decimals: int
    """Decimals in the papers' tables."""
    pyiqa_name: str
    """Its name in pyiqa."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options for pyiqa; they override those of the name."""
    smallest_side: int = 1
    """Shorter side of the smallest image that can be scored [px]."""
    files: tuple[WeightsFile, ...] = ()
    """The files that it reads."""
    of_sets: bool = False
    """Whether it compares two sets of images and has no score for a single image."""
    exact: bool = False
    """Whether it is computed in float64; networks use float32."""
    unit: str = ""
    """Unit of a score; empty where it has none."""

    @property
    def heading(self) -> str:
        """Label, and an arrow in the direction of better scores."""
        return f"{self.label} {'↑' if self.higher_is_better else '↓'}"

    def rounded(self, value: float, sign: str = "") -> str:
        """A score as text, as in tables; `sign` "+" also shows the sign of positive scores."""
        return f"{value:{sign}.{self.decimals}f}"


def info_of(key: str) -> MetricInfo:
    """The row of a metric. Raises ValueError naming the most similar key where it does not exist."""
    if key in METRICS:
        return METRICS[key]
    near = get_close_matches(key.lower(), METRICS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}"
    raise ValueError(f"no such metric: {key}; {hint}")


def info_or_plain(key: str) -> MetricInfo:
    """The row of a metric; for an unknown column of scores, a default row in which higher is better."""
    return METRICS.get(key) or MetricInfo(key, key, False, True, (-math.inf, math.inf), 4, "")


_PREFIX = re.compile(r"-([0-9a-f]{8})\.pth$")


def _file(page: str, name: str, place: Place) -> WeightsFile:
    """A file; the first digits of its sha256 are taken from its name where that contains them."""
    prefix = _PREFIX.search(name)
    return WeightsFile(name, f"{page}/{name}", place, prefix[1] if prefix else "")


def _iqa(name: str) -> WeightsFile:
    return _file("https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main", name, "pyiqa")


def _trunk(name: str) -> WeightsFile:
    return _file("https://download.pytorch.org/models", name, "checkpoints")


_VGG16 = _trunk("vgg16-397923af.pth")
_CLIP_SHA256 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
_CLIP = WeightsFile(
    "RN50.pt", f"https://openaipublic.azureedge.net/clip/models/{_CLIP_SHA256}/RN50.pt", "clip", _CLIP_SHA256
)


def _fidelity(key: str, label: str, name: str, *, luma: bool, best: float, decimals: int, least: int) -> MetricInfo:
    """PSNR or SSIM, on the luma or on all three channels."""
    options = {"test_y_channel": luma, "color_space": "ycbcr"}
    unit = "dB" if name == "psnr" else ""
    return MetricInfo(key, label, True, True, (0, best), decimals, name, options, least, exact=True, unit=unit)


def _distance(key: str, label: str, least: int, *files: WeightsFile) -> MetricInfo:
    """A distance between the features of a picture and those of the true one."""
    return MetricInfo(key, label, True, False, (0, 1), 4, key, smallest_side=least, files=files)


def _musiq(key: str, label: str, file: str, highest: float = 100) -> MetricInfo:
    # Both sides are scaled so that the longer one has 224 and 384 px: a side below 1/448 of the longer would vanish.
    return MetricInfo(key, label, False, True, (0, highest), 2, key, smallest_side=1, files=(_iqa(file),))


def _opinion(key: str, label: str, name: str, least: int, *files: WeightsFile) -> MetricInfo:
    """A network's score of one picture without reference, about 0 to 1."""
    return MetricInfo(key, label, False, True, (0, 1), 4, name, smallest_side=least, files=files)


METRICS: dict[str, MetricInfo] = {
    info.key: info
    for info in (
        # pyiqa adds 1e-8 to the squared error: equal images score 80 dB. SSIM's window is 11 px wide.
        _fidelity("psnr", "PSNR", "psnr", luma=True, best=80, decimals=2, least=1),
        _fidelity("ssim", "SSIM", "ssim", luma=True, best=1, decimals=4, least=11),
        # Fits a Gaussian to blocks of 96 px and drops the rest of the image. Below 192 px only one block exists, so the
        # covariance of the image is unknown: compare such scores only among equal sizes.
        MetricInfo(
            key="niqe",
            label="NIQE",
            needs_reference=False,
            higher_is_better=False,
            range=(0, 100),
            decimals=4,
            pyiqa_name="niqe",
            smallest_side=96,
            files=(WeightsFile("metrics/niqe_pris_params.npz", "", "basicsr", "2a7c182a"),),
            exact=True,
        ),
        # Its file contains only the linear layers; the trunk is torchvision's.
        _distance("lpips", "LPIPS", 31, _trunk("alexnet-owt-7be5be79.pth"), _iqa("LPIPS_v0.1_alex-df73285e.pth")),
        _distance("dists", "DISTS", 1, _VGG16, _iqa("DISTS_weights-f5e65c96.pth")),
        # clean-fid: bicubic to 299 px, Inception's features, the distance between two Gaussians
        MetricInfo(
            key="fid",
            label="FID",
            needs_reference=True,
            higher_is_better=False,
            range=(0, 500),
            decimals=2,
            pyiqa_name="fid",
            files=(_iqa("pt_inception-2015-12-05-6726825d.pth"),),
            of_sets=True,
        ),
        _musiq("musiq", "MUSIQ", "musiq_koniq_ckpt-e95806b9.pth"),
        # The mean over 20 crops of 224 px at fixed positions; smaller pictures are enlarged to 225 px.
        _opinion("maniqa", "MANIQA", "maniqa", 1, _iqa("ckpt_koniq10k.pt")),
        # Without CLIP's positional embedding, so that any size is scored without resizing.
        _opinion("clipiqa", "CLIPIQA", "clipiqa", 31, _CLIP),
        _opinion("topiq", "TOPIQ", "topiq_nr", 1, _iqa("cfanet_nr_koniq_res50-9a73138b.pth")),
        # variants
        _fidelity("psnr-rgb", "PSNR (RGB)", "psnr", luma=False, best=80, decimals=2, least=1),
        _fidelity("ssim-rgb", "SSIM (RGB)", "ssim", luma=False, best=1, decimals=4, least=11),
        _distance("lpips-vgg", "LPIPS (VGG)", 16, _VGG16, _iqa("LPIPS_v0.1_vgg-a78928a0.pth")),
        _musiq("musiq-spaq", "MUSIQ (SPAQ)", "musiq_spaq_ckpt-358bb6af.pth"),
        _musiq("musiq-paq2piq", "MUSIQ (PaQ-2-PiQ)", "musiq_paq2piq_ckpt-364c0c84.pth"),
        _musiq("musiq-ava", "MUSIQ (AVA)", "musiq_ava_ckpt-e8d3f067.pth", highest=10),
        _opinion("maniqa-pipal", "MANIQA (PIPAL)", "maniqa-pipal", 1, _iqa("MANIQA_PIPAL-ae6d356b.pth")),
        _opinion("maniqa-kadid", "MANIQA (KADID)", "maniqa-kadid", 1, _iqa("ckpt_kadid10k.pt")),
        _opinion("clipiqa+", "CLIPIQA+", "clipiqa+", 31, _CLIP, _iqa("CLIP-IQA%2B_learned_prompts-603f3273.pth")),
        _opinion("topiq-spaq", "TOPIQ (SPAQ)", "topiq_nr-spaq", 1, _iqa("cfanet_nr_spaq_res50-a7f799ac.pth")),
        _opinion("topiq-flive", "TOPIQ (FLIVE)", "topiq_nr-flive", 1, _iqa("cfanet_nr_flive_res50-ded1c74e.pth")),
    )
}
"""All metrics by key: first those of the papers' tables, then their variants."""
