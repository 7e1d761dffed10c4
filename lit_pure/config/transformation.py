"""The knobs of NSARM's transformation network, which predicts the first scales of the HQ picture from the LQ picture.

Knows names, types, defaults and legal ranges (`knob`); the sizes are the published ones (arXiv 2510.00820 and its
inference code). How many branches a network has follows from its lists. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from lit_pure.config.knobs import Problem, knob

Layout = Literal["spatial", "raw"]
"""How tokens become residuals: one token is one position, or a run of numbers in memory as in NSARM.pth."""


@dataclass
class TransformationConfig:
    """NSARM's transformation network: a stem, and a branch of convolutions and a transformer for each prefix scale."""

    layout: Layout = "spatial"
    """`spatial` has true positions and takes any size; `raw` is the published network, for NSARM.pth."""
    predicts: Literal["residuals", "correction"] = "residuals"
    """The residuals of the prefix scales (published), or a correction to those of the enlarged LQ picture (not
    published), which is zero at first."""
    stem: list[int] = knob([64, 128], low=1)
    """Channels of the stem's convolutions; in the `raw` layout one more leads back to the latent's channels."""
    widths: list[int] = knob([64, 128, 256, 384, 512, 768, 1024], low=4)
    """Width of each branch, coarsest scale first."""
    layers: list[int] = knob([4, 6, 8, 10, 12, 14, 16], low=0)
    """Transformer layers of each branch."""
    heads: list[int] = knob([4, 4, 8, 8, 8, 12, 16], low=1)
    """Attention heads of each branch."""
    dropout: float = knob(0.1, low=0, high=0.9)
    """Dropout of the transformers, after attention and in feed-forward."""
    side: int = knob(32, low=1)
    """Side of the LQ picture's latent in the `raw` layout, whose norms have weights for each position."""

    def problems(self) -> Iterator[Problem]:
        if not len(self.widths) == len(self.layers) == len(self.heads):
            yield "widths", "widths, layers and heads must have one entry per branch each"
        for width, heads in zip(self.widths, self.heads, strict=False):
            if heads > 0 and width % heads:
                yield "heads", f"{heads} heads do not cut width {width} into equal parts"
        if odd := [width for width in self.widths if width % 4]:
            yield "widths", f"{odd} are no multiples of 4, which two-dimensional positions need"
        if not self.stem:
            yield "stem", "is empty; give at least one convolution"
        if self.layout == "raw" and self.predicts == "correction":
            yield "predicts", "= correction needs tokens that are positions; take layout: spatial"


SIZES: dict[str, dict[str, Any]] = {
    "published": {"layout": "raw"},
    "spatial": {},
    "nano": {"stem": [32, 48], "widths": [48, 64, 64, 96], "layers": [1, 2, 2, 2], "heads": [4, 4, 4, 4]},
}
"""What differs from the defaults in each size: NSARM-8B's network, ours of its widths, and ours for two cores."""


def transformation_size(name: str) -> TransformationConfig:
    """The configuration of one of `SIZES`. Raises ValueError for another name."""
    if name not in SIZES:
        raise ValueError(f"{name} is no size of the transformation network; choose one of {', '.join(SIZES)}")
    return TransformationConfig(**SIZES[name])
