"""The knobs of the visual tokenizer's experiments.

Knows names, types, defaults and legal ranges (`knob`); the defaults are the published ones. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lit_pure.config.experiment import Experiment, small_model_problems
from lit_pure.config.knobs import Problem, knob


@dataclass
class VQConfig:
    """LlamaGen's VQ tokenizer (arXiv 2406.06525); the defaults are its VQ-8."""

    stem: int = knob(1, low=1, high=8)
    """Side of the pixel block folded into channels before the first convolution [px]; 1 in LlamaGen."""
    channels: list[int] = knob([128, 256, 256, 512], low=32)
    """Channels per level [multiples of 32]; each level after the first halves the resolution."""
    res_blocks: int = knob(2, low=1, high=8)
    """Residual blocks per level of the encoder; the decoder has one more."""
    attention: bool = True
    """Self-attention at the deepest level."""
    z_channels: int = knob(256, low=1)
    """Channels of the latent before it is projected to `code_dim`."""
    codes: int = knob(16384, low=2)
    """Entries of the codebook."""
    code_dim: int = knob(8, low=1)
    """Length of a code, L2-normalised."""
    l1_weight: float = knob(0.0, low=0)
    """Weight of the absolute error of the pixels [-1, 1]."""
    l2_weight: float = knob(1.0, low=0)
    """Weight of the squared error of the pixels [-1, 1]."""
    commit_weight: float = knob(0.25, low=0)
    """Weight of the commitment loss."""
    restart_every: int = knob(0, low=0)
    """Steps between restarts of unused codes from encoder outputs; 0: never, as in LlamaGen."""

    @property
    def downsample(self) -> int:
        """Pixels per code along a side, f."""
        return int(self.stem * 2 ** (len(self.channels) - 1))

    def problems(self) -> Iterator[Problem]:
        if bad := [width for width in self.channels if width % 32]:
            yield "channels", f"{bad} are no multiples of 32, which group normalisation needs"
        if not self.downsample or self.downsample > 32 or 32 % self.downsample:
            yield "channels", f"with stem {self.stem} make {self.downsample} px per code; it must divide 32"


@dataclass
class TokenizerExperiment(Experiment):
    """Trains the visual tokenizer."""

    family: str = "tokenizer"
    vq: VQConfig = field(default_factory=VQConfig)
    """Architecture and losses."""

    def problems(self) -> Iterator[Problem]:
        yield from small_model_problems(self)
