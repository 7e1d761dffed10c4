"""Scores images with pyiqa.

Knows how to call one metric of `table.py`: which pixels it takes, in which precision, and how to make a score depend
only on the picture, neither on its batch nor on the surrounding run. Knows nothing of data sets, image files or means.

Suffixes: B, N images, 3 RGB, H height, W width, D features.
"""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lit_pure.images.checks import require_batch
from lit_pure.images.io import from_bytes, to_bytes
from lit_pure.metrics.offline import build_network, no_network
from lit_pure.metrics.table import MetricInfo, info_of

_INCEPTION_SIDE = 299


class NotScorable(ValueError):
    """An image without a finite score, such as a single flat colour for NIQE."""


class Scorer:
    """One metric of single images.

    PSNR, SSIM and NIQE are computed in float64, networks in float32, also under autocast or reduced matmul precision,
    one picture at a time, and without random numbers. Published figures are those of 8-bit files: to compare with them,
    give pixels that went through `images.io.to_bytes`. The network moves to the device of the pictures and stays there.

    Args:
        key: a metric of `table.METRICS`.

    Raises:
        MissingWeights: its files are missing.
        ValueError: no such metric, a metric of sets (use `Frechet`), or a damaged file.
        ImportError: a package that the metric needs is not installed.
    """

    info: MetricInfo

    def __init__(self, key: str) -> None:
        self.info = info_of(key)
        if self.info.of_sets:
            raise ValueError(f"{key} compares two sets of images and has no score for one")
        self._network = build_network(self.info)

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self._network.to(device)
        return self

    def scores(self, pred_B3HW: Tensor, target_B3HW: Tensor | None = None) -> Tensor:
        """One score per image.

        Args:
            pred_B3HW: images to score, in [0, 1].
            target_B3HW: the true images, in [0, 1]; ignored by metrics without reference.

        Returns:
            `(B,)` float64 (float32 on Apple's GPUs), in the unit of the metric (PSNR: dB).

        Raises:
            NotScorable: an image has no finite score, or is too large for the network or the memory.
            ValueError: shapes, sizes or pixel values are not what the metric needs.
        """
        _check(self.info, pred_B3HW, "pred")
        images = [self._pixels(pred_B3HW)]
        if self.info.needs_reference:
            if target_B3HW is None:
                raise ValueError(f"{self.info.key} compares with a reference; give target_B3HW")
            _check(self.info, target_B3HW, "target")
            if pred_B3HW.shape != target_B3HW.shape:
                raise ValueError(
                    f"{self.info.key}: pred {tuple(pred_B3HW.shape)} and target {tuple(target_B3HW.shape)} differ"
                )
            images.append(self._pixels(target_B3HW))
        self.to(images[0].device)
        with no_network(self.info.key), _same_everywhere(images[0].device), warnings.catch_warnings():
            # pyiqa's NIQE of a flat picture, which is reported as NotScorable
            warnings.filterwarnings("ignore", message=r"cov\(\)")
            score_B = torch.stack(
                [self._single(*single) for single in zip(*(one.split(1) for one in images), strict=True)]
            )
        if bad := torch.nonzero(~torch.isfinite(score_B)).flatten().tolist():
            which = "it" if len(score_B) == 1 else f"images {bad} of this batch"
            raise NotScorable(f"{self.info.key} has no finite score for {which} (one flat colour?)")
        return score_B

    def _single(self, *images_13HW: Tensor) -> Tensor:
        """The score of one image: a float64 scalar (float32 on Apple's GPUs), NaN where it is undefined."""
        try:
            score = self._network(*images_13HW).reshape(())
            return score if score.device.type == "mps" else score.double()
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            return images_13HW[0].new_full((), torch.nan)
        except RuntimeError as error:  # too oblong for MUSIQ, too large for the memory
            height, width = images_13HW[0].shape[2:]
            reason = str(error).splitlines()[0]
            raise NotScorable(f"{self.info.key} cannot score a picture of {height} x {width} px: {reason}") from error

    def _pixels(self, image: Tensor) -> Tensor:
        """The image in the metric's precision, on the CPU where an Apple GPU lacks float64."""
        image = image.detach()
        if not self.info.exact:
            return image.float().clamp(0, 1)
        return (image.cpu() if image.device.type == "mps" else image).clamp(0, 1).double()


def score_bytes(
    scorers: Sequence[Scorer], pred_3HW: Tensor, target_3HW: Tensor | None, device: torch.device
) -> tuple[dict[str, float], dict[str, str]]:
    """The scores of one 8-bit picture, and the reasons for missing scores.

    Args:
        scorers: the metrics.
        pred_3HW: uint8, the picture to score.
        target_3HW: uint8, the true picture.
        device: where to compute.

    Returns:
        Scores by metric, and reasons by metric; each metric is in one of them.
    """
    scores: dict[str, float] = {}
    lacking: dict[str, str] = {}
    for scorer in scorers:
        key = scorer.info.key
        try:
            target_13HW = None if target_3HW is None else from_bytes(target_3HW.to(device))[None]
            scores[key] = scorer.scores(from_bytes(pred_3HW.to(device))[None], target_13HW).item()
        except ValueError as error:
            lacking[key] = str(error)
        except (MemoryError, torch.OutOfMemoryError):
            height, width = pred_3HW.shape[-2:]
            lacking[key] = f"not enough memory for {key} of {height} x {width} px; smaller pictures need less"
    return scores, lacking


class Frechet:
    """A metric of sets: computes features of images; the score is the `distance` between their distributions.

    Images are resized as in clean-fid (arXiv 2104.11222), by Pillow's bicubic filter on the 8-bit pixels.

    Args:
        key: a metric of `table.METRICS` with `of_sets`.

    Raises:
        MissingWeights: its files are missing.
        ValueError: no such metric, a metric of single images (use `Scorer`), or a damaged file.
    """

    info: MetricInfo

    def __init__(self, key: str) -> None:
        self.info = info_of(key)
        if not self.info.of_sets:
            raise ValueError(f"{key} scores single images and compares no sets")
        self._network: nn.Module = build_network(self.info).get_submodule("model")

    def to(self, device: torch.device | str) -> Self:
        """Move the network."""
        self._network.to(device)
        return self

    def features(self, images_B3HW: Tensor) -> Tensor:
        """Features of images in [0, 1]: `(B, D)` float64, on their device. Raises ValueError for other pixels."""
        _check(self.info, images_B3HW, "images")
        device = images_B3HW.device
        self.to(device)
        with no_network(self.info.key), _same_everywhere(device):
            found = [self._network(_small(image_3HW).to(device))[0].flatten(1) for image_3HW in images_B3HW]
        return torch.cat(found) if device.type == "mps" else torch.cat(found).double()


def distance(pred_ND: Tensor, target_ND: Tensor) -> float:
    """The Fréchet distance between Gaussians fitted to two sets of features (arXiv 1706.08500, equation 6).

    The trace of the square root of the product of the covariances is the sum of the singular values of one centred set
    times the transpose of the other. This avoids a matrix root, which is unstable with fewer images than features.

    Args:
        pred_ND: features of the images to score.
        target_ND: features of the true images; N may differ.

    Returns:
        The squared distance, 0 for equal sets.

    Raises:
        ValueError: fewer than two images in a set.
    """
    for name, features in (("pred", pred_ND), ("target", target_ND)):
        if len(features) < 2:
            raise ValueError(f"a distance between sets needs at least 2 images in each; {name} has {len(features)}")
    sets = [features.detach().cpu().double() for features in (pred_ND, target_ND)]
    shift = sets[0].mean(0) - sets[1].mean(0)
    # Rows divided by sqrt(N - 1), so that the transpose times the set is the covariance; R of QR has fewer rows.
    roots = [torch.linalg.qr((one - one.mean(0)) / (len(one) - 1) ** 0.5, mode="r").R for one in sets]
    overlap = torch.linalg.svdvals(roots[0] @ roots[1].mT).sum()
    squared = shift.square().sum() + roots[0].square().sum() + roots[1].square().sum() - 2 * overlap
    return max(0.0, float(squared))


def _check(info: MetricInfo, image_B3HW: Tensor, name: str) -> None:
    """Raise ValueError unless the metric can score these images and they obey the pixel contract."""
    require_batch(image_B3HW, f"{info.key}: {name}")
    height, width = image_B3HW.shape[2:]
    if min(height, width) < (least := info.smallest_side):
        raise ValueError(f"{info.key}: {name} is {height} x {width} px; the smallest side it scores is {least} px")


@contextlib.contextmanager
def _same_everywhere(device: torch.device) -> Iterator[None]:
    """No gradients, no autocast, no TF32, no algorithms chosen by speed: every run gives the same figures."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.no_grad(),
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def _small(image_3HW: Tensor) -> Tensor:
    """`(1, 3, 299, 299)` in [-1, 1) on the CPU, resized and scaled as in clean-fid."""
    pixels_3HW = to_bytes(image_3HW.detach().float().clamp(0, 1).cpu()).numpy()
    side = (_INCEPTION_SIDE, _INCEPTION_SIDE)
    resized = [Image.fromarray(plane.astype(np.float32)).resize(side, Image.Resampling.BICUBIC) for plane in pixels_3HW]
    small_3HW = torch.from_numpy(np.stack([np.asarray(plane).clip(0, 255) for plane in resized]))
    return ((small_3HW - 128) / 128)[None]
