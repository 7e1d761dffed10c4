"""Parts of the package as functions of a few arguments: degrade, evaluate, entropy top-k.

Knows their defaults, which are those of the commands of the same names. What they compute is `degradation/`'s,
`metrics/`' and `families/pure/sampling/logits.py`'s.

Shape legend: B pictures, H W HQ [px], h w LQ [px], N tokens.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lit_pure.api.pictures import Photo, as_photo
from lit_pure.config.compose import degradation
from lit_pure.datasets.order import DEGRADATION_DRAW
from lit_pure.degradation import pipeline
from lit_pure.families.pure.sampling import logits as sampling
from lit_pure.images.io import from_bytes, to_bytes
from lit_pure.metrics.score import Scorer
from lit_pure.metrics.table import info_of

Photos = Photo | Sequence[Photo]
"""One picture, or a batch: a tensor (B, 3, H, W), or a list of pictures of one size."""


def degrade(
    photos: Photos, preset: str = "realesrgan", *, scale: int = 4, seed: int = 0, settings: Sequence[str] = ()
) -> Tensor:
    """LQ pictures (B, 3, h, w) of HQ ones, in [0, 1], by the two-stage degradation of Real-ESRGAN.

    The same arguments give the same pictures, those that `lit-pure degrade` writes; each picture has draws of its own.

    Args:
        photos: a picture, or a batch; up to `scale` - 1 rows at the bottom and columns at the right are cut off, so
            that the scale divides the sides.
        preset: a file in data/degradation (`realesrgan`, `seesr`, ...), or the path of your own.
        scale: H / h.
        seed: of all draws.
        settings: knobs that replace the preset's, for example `["jpeg_range=[50,90]"]`.

    Raises:
        ConfigError: there is no such preset or knob.
        ValueError: they are no pictures, or not of one size.
    """
    config = degradation(preset, [*settings, f"scale={scale}"])
    hq_B3HW = as_batch(photos)
    height, width = (side - side % scale for side in hq_B3HW.shape[-2:])
    rngs = [np.random.default_rng([seed, 0, index, DEGRADATION_DRAW]) for index in range(len(hq_B3HW))]
    return pipeline.degrade(hq_B3HW[..., :height, :width], config, rngs)[0]


def evaluate(
    restored: Photos, truth: Photos | None = None, metrics: Sequence[str] = ("psnr", "ssim", "niqe")
) -> dict[str, Tensor]:
    """The scores of pictures: metric -> (B,) float64, those that `lit-pure evaluate` gives files of 8 bits.

    Args:
        restored: a picture, or a batch.
        truth: the true ones, of the same size; without them metrics that compare are left out.
        metrics: keys of `lit_pure.metrics.table.METRICS`.

    Raises:
        ValueError: no such metric, none that works without truth, or pictures of another size.
        NotScorable: a picture has no such score, for example because it is too small.
        MissingWeights: files of the metric are missing; the message says how to get them.
    """
    known = [info_of(key) for key in metrics]
    chosen = [info.key for info in known if truth is not None or not info.needs_reference]
    if not chosen:
        raise ValueError(f"{', '.join(metrics)}: each compares with the true picture; give it as truth")
    pred_B3HW, true_B3HW = _rounded(restored), None if truth is None else _rounded(truth)
    return {key: Scorer(key).scores(pred_B3HW, true_B3HW) for key in chosen}


def entropy_top_k(logits: Tensor, k_min: int = 1, k_max: int = 2000, mu: float = 5.0) -> Tensor:
    """Logits (..., N) of which each row keeps its k largest, others are -inf; k grows with the row's entropy H [nats].

    k = k_min + (k_max - k_min) sigmoid(H - mu) (PURE, equation 2). `entropy_top_k(logits).softmax(-1)` is what to draw
    from. The entropy is that of the logits as they are, so divide by a temperature afterwards, as the paper does.

    Raises ValueError unless 1 <= k_min <= k_max, and there are logits.
    """
    if not 1 <= k_min <= k_max:
        raise ValueError(f"k_min {k_min} and k_max {k_max}: expected 1 <= k_min <= k_max")
    if not logits.ndim or not logits.numel():
        raise ValueError(f"expected logits (..., N), found {tuple(logits.shape)}")
    rows_BN = logits.reshape(-1, logits.shape[-1]).float()
    k_B = sampling.dynamic_k(sampling.entropy(rows_BN), k_min, k_max, mu)
    kept_BN = sampling.keep_top_k(rows_BN, k_B, k_max)
    return kept_BN.reshape(logits.shape).to(logits.dtype)


def as_batch(photos: Photos) -> Tensor:
    """Pictures as a batch (B, 3, H, W) in [0, 1]. Raises ValueError where they are none, or not of one size."""
    several = (
        list(photos)
        if isinstance(photos, list | tuple) or (isinstance(photos, Tensor) and photos.ndim == 4)
        else [photos]
    )
    made = [as_photo(one)[0] for one in several]  # type: ignore[arg-type]
    sizes = sorted({tuple(one.shape) for one in made})
    if len(sizes) != 1:
        raise ValueError(f"pictures of a batch have one size, found {sizes or 'no picture'}; give them one by one")
    return torch.stack(made)


def _rounded(photos: Photos) -> Tensor:
    """As 8-bit files hold them."""
    return from_bytes(to_bytes(as_batch(photos)))
