"""The knobs of data: photographs, crops, degradation.

Knows names, types, defaults and legal ranges (`knob`). Imports no torch.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from lit_pure.config.knobs import Problem, identity, knob

KERNELS = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
KERNEL_PROBABILITIES = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
RESIZE_MODES = ["area", "bilinear", "bicubic"]
"""Interpolations from which that of a resize is drawn."""
ANTIALIASED = "bicubic_antialias"
"""Bicubic with antialiasing, as in the classical x4 benchmark. Only drawn if a config names it."""
LEAST_LQ_SIDE = 8
"""Least side of an LQ picture [px]: smaller ones contain nothing to restore."""


@dataclass
class DegradationConfig:
    """The two-stage process of Real-ESRGAN (arXiv 2107.10833, section 3) under its published YAML names and values."""

    preset: str = "realesrgan"
    """NAME of data/degradation/NAME.yaml, or the path of a .yaml file: sets all knobs except `scale`."""
    scale: int = knob(4, low=1, high=16)
    """How many times smaller a side of the LQ image is than that of the HQ image."""
    gt_usm: bool = True
    """Sharpen the HQ image (unsharp mask) before it is degraded."""

    blur_prob: float = knob(1.0, low=0, high=1)
    """Probability that the first stage blurs at all (published pipelines always do)."""
    blur_kernel_size: int = knob(21, low=7, high=51)
    """Largest kernel of the first blur [px, odd]; the size is drawn from 7, 9, ... up to it, and padded to it."""
    kernel_list: list[str] = knob(KERNELS)
    """Shapes of the first blur; a share `sinc_prob` of the kernels is sinc instead."""
    kernel_prob: list[float] = knob(KERNEL_PROBABILITIES, low=0, high=1, total=1)
    """Probability of each shape in `kernel_list`."""
    sinc_prob: float = knob(0.1, low=0, high=1)
    """Probability of a sinc kernel."""
    blur_sigma: tuple[float, float] = knob((0.2, 3.0), above=0, high=20, ordered=True)
    """Standard deviation of the Gaussian kernels [px]."""
    betag_range: tuple[float, float] = knob((0.5, 4.0), above=0, high=10, ordered=True)
    """Shape of the generalised Gaussian kernels."""
    betap_range: tuple[float, float] = knob((1.0, 2.0), above=0, high=10, ordered=True)
    """Shape of the plateau kernels."""
    resize_prob: tuple[float, float, float] = knob((0.2, 0.7, 0.1), low=0, high=1, total=1)
    """Probabilities of the first resize to enlarge, to reduce, to keep."""
    resize_range: tuple[float, float] = knob((0.15, 1.5), above=0, high=4, ordered=True)
    """Factor of the first resize."""
    noise_prob: float = knob(1.0, low=0, high=1)
    """Probability that the first stage adds noise at all (published pipelines always do)."""
    gaussian_noise_prob: float = knob(0.5, low=0, high=1)
    """Probability that the noise is Gaussian; otherwise it is Poisson."""
    noise_range: tuple[float, float] = knob((1.0, 30.0), low=0, high=255, ordered=True)
    """Standard deviation of Gaussian noise [levels of 255]."""
    poisson_scale_range: tuple[float, float] = knob((0.05, 3.0), low=0, high=20, ordered=True)
    """Strength of Poisson noise [1 is natural]."""
    gray_noise_prob: float = knob(0.4, low=0, high=1)
    """Probability that all channels share the same noise."""
    jpeg_prob: float = knob(1.0, low=0, high=1)
    """Probability that the first stage compresses (0 in NSARM's light setting)."""
    jpeg_range: tuple[float, float] = knob((30.0, 95.0), low=1, high=100, ordered=True)
    """JPEG quality of the first stage."""

    second_order_prob: float = knob(1.0, low=0, high=1)
    """Probability of the second blur, resize and noise (ResShift's name; 0 in NSARM's light setting)."""
    second_blur_prob: float = knob(0.8, low=0, high=1)
    """Probability that the second stage blurs at all."""
    blur_kernel_size2: int = knob(21, low=7, high=51)
    """Largest kernel of the second blur and of the final sinc [px, odd]."""
    kernel_list2: list[str] = knob(KERNELS)
    """Shapes of the second blur."""
    kernel_prob2: list[float] = knob(KERNEL_PROBABILITIES, low=0, high=1, total=1)
    """Probability of each shape in `kernel_list2`."""
    sinc_prob2: float = knob(0.1, low=0, high=1)
    """Probability of a sinc kernel in the second blur."""
    blur_sigma2: tuple[float, float] = knob((0.2, 1.5), above=0, high=20, ordered=True)
    """Standard deviation of the second Gaussian kernels [px]."""
    betag_range2: tuple[float, float] = knob((0.5, 4.0), above=0, high=10, ordered=True)
    """Shape of the second generalised Gaussian kernels."""
    betap_range2: tuple[float, float] = knob((1.0, 2.0), above=0, high=10, ordered=True)
    """Shape of the second plateau kernels."""
    resize_prob2: tuple[float, float, float] = knob((0.3, 0.4, 0.3), low=0, high=1, total=1)
    """Probabilities of the second resize to enlarge, to reduce, to keep."""
    resize_range2: tuple[float, float] = knob((0.3, 1.2), above=0, high=4, ordered=True)
    """Factor of the second resize, relative to the LQ size."""
    gaussian_noise_prob2: float = knob(0.5, low=0, high=1)
    """Probability of Gaussian noise in the second stage."""
    noise_range2: tuple[float, float] = knob((1.0, 25.0), low=0, high=255, ordered=True)
    """Standard deviation of the second Gaussian noise [levels of 255]."""
    poisson_scale_range2: tuple[float, float] = knob((0.05, 2.5), low=0, high=20, ordered=True)
    """Strength of the second Poisson noise."""
    gray_noise_prob2: float = knob(0.4, low=0, high=1)
    """Probability that all channels share the same noise in the second stage."""
    jpeg_prob2: float = knob(1.0, low=0, high=1)
    """Probability of the last JPEG."""
    jpeg_range2: tuple[float, float] = knob((30.0, 95.0), low=1, high=100, ordered=True)
    """Quality of the last JPEG."""
    final_sinc_prob: float = knob(0.8, low=0, high=1)
    """Probability of a final sinc filter, before or after the last JPEG."""
    final_modes: list[str] = knob(RESIZE_MODES)
    """Interpolations from which that of the resize to the LQ size is drawn."""
    strength: tuple[float, float] = knob((1.0, 1.0), low=0, high=1, ordered=True)
    """Lowest and highest strength of all steps together; 1 is as drawn, 0 leaves only the resize to the LQ size."""
    full_strength_prob: float = knob(0.0, low=0, high=1)
    """Probability of full strength, whatever `strength` says."""

    def identity(self) -> dict[str, Any]:
        """All that pairs depend on."""
        return identity(self, ["strength", "full_strength_prob"])

    def problems(self) -> Iterator[Problem]:
        for suffix in ("", "2"):
            shapes, odds = getattr(self, f"kernel_list{suffix}"), getattr(self, f"kernel_prob{suffix}")
            size = getattr(self, f"blur_kernel_size{suffix}")
            if unknown := [shape for shape in shapes if shape not in KERNELS]:
                yield f"kernel_list{suffix}", f"no such kernel: {', '.join(unknown)}; there are {', '.join(KERNELS)}"
            if len(shapes) != len(odds):
                found = f"{len(odds)} probabilities for {len(shapes)} kernels in kernel_list{suffix}"
                yield f"kernel_prob{suffix}", f"{found}; give one for each"
            if size % 2 == 0:
                yield f"blur_kernel_size{suffix}", f"{size} is even; a kernel needs an odd size"
        modes = [*RESIZE_MODES, ANTIALIASED]
        if not self.final_modes or not set(self.final_modes) <= set(modes):
            yield "final_modes", f"{self.final_modes}: take one or more of {', '.join(modes)}"


SKIMAGE = "skimage"
"""The source of photographs that needs no download."""
SHARDS = "shards"
"""The value of `captions` for captions in the shards."""
SET_NAME = r"[\w-]+"
"""Legal names of test sets."""


@dataclass
class PhotosConfig:
    """One set of photographs."""

    source: str = SKIMAGE
    """A folder of pictures (also in sub-folders) or of tar shards, or `skimage` for those inside scikit-image."""
    meta_info: str = ""
    """A list as BasicSR writes it, a path per line, relative to `source` or absolute; "(h,w,c)" may follow the path."""
    lq: str = ""
    """For val and test sets: a folder of LQ pictures with the names of `source`; with `source: ""` there is no HQ."""
    names: list[str] = knob([])
    """File names without extension to take from the source; empty: all."""
    crops: int = knob(1, low=1)
    """Random crops per photograph and epoch; fixed crops per photograph in validation and test sets."""
    captions: str = "pixels"
    """`pixels` describes the crop; `tags` names what the photograph shows, and the crop's light; `none` says nothing,
    for models without words; `shards` reads KEY.txt beside a picture; else a JSONL file of image and caption."""

    def problems(self) -> Iterator[Problem]:
        if not (self.source or self.meta_info or self.lq):
            yield "source", "is empty, and there is neither meta_info nor lq; name a folder, or skimage"
        if self.source == SKIMAGE and (self.meta_info or self.lq):
            other = "meta_info" if self.meta_info else "lq"
            yield "source", f'is {SKIMAGE}, which has no {other}; name the folder that goes with it, or write ""'
        if self.meta_info and self.lq and not self.source:
            yield "source", "is empty, and meta_info and lq cannot be matched without it; name the HQ folder"


@dataclass
class DataConfig:
    """Photographs, crops, batches and their degradation."""

    size: int = knob(512, low=32, high=2048)
    """Side of the square HQ crop [px, a multiple of 32]."""
    train: PhotosConfig = field(default_factory=PhotosConfig)
    """Photographs to train on."""
    val: PhotosConfig = field(default_factory=PhotosConfig)
    """Photographs for validation during training."""
    test: dict[str, PhotosConfig] = field(default_factory=dict)
    """Held-out photographs by set name; metrics are `test/<set>/<metric>`; null leaves out a set of the base."""
    batch_size: int = knob(4, low=1)
    """Crops per step and process."""
    eval_batch_size: int = knob(8, low=1)
    """Crops per batch in validation and test."""
    num_workers: int = knob(0, low=0, high=256)
    """Processes that decode photographs; 0: the training process does it."""
    degrade_in: Literal["device", "workers"] = "device"
    """Where LQ pictures are made. A GPU degrades one small picture after another, and waits for each: there, many
    `workers` make them sooner. On a CPU the pixels are the same; a GPU draws its noise with a generator of its own."""
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
    """How LQ images are made."""

    def problems(self) -> Iterator[Problem]:
        if self.size % 32:
            yield "size", f"{self.size} is not a multiple of 32; try {max(32, round(self.size / 32) * 32)}"
        if self.degradation.scale > 0 and self.size % self.degradation.scale:
            yield "degradation.scale", f"{self.degradation.scale} does not divide data.size {self.size}"
        if self.train.lq:
            yield "train.lq", "is for val and test sets; training pictures are degraded anew each time: leave it empty"
        if self.val.lq and not self.val.source:
            yield "val.source", "is empty, and a validation loss needs the HQ pictures of val.lq; name their folder"
        if bad := [name for name in self.test if not re.fullmatch(SET_NAME, name)]:
            yield "test", f"set names {bad} may only contain letters, digits, _ and -"

    def without_hq(self, family: str) -> Iterator[Problem]:
        """Problems of test sets without HQ pictures, for a family whose test needs them."""
        for name, photos in self.test.items():
            if photos.lq and not photos.source:
                yield (
                    f"test.{name}.source",
                    f"is empty, and family {family} is tested on HQ; name their folder",
                )
