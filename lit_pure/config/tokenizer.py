"""The knobs of the visual tokenizer's experiments.

Knows names, types, defaults and legal ranges (`knob`); the defaults are the published ones. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.experiment import Experiment, small_model_problems
from lit_pure.config.knobs import Problem, knob

Features = Literal["none", "efficientnet", "lpips"]
"""Whose features a perceptual loss compares."""


@dataclass
class PhotoDecoderConfig:
    """A decoder that can see the enlarged LQ picture (CodeFormer, arXiv 2206.11253)."""

    channels: list[int] = knob([], low=1)
    """Channels per level, from the grid of codes to single pixels; empty: the encoder's mirror, as in LlamaGen."""
    blocks: list[int] = knob([], low=0, high=32)
    """Residual blocks per level."""
    photo_channels: list[int] = knob([], low=1)
    """Channels of the photograph's features at the first levels; empty: the decoder never sees it."""
    photo_blocks: int = knob(2, low=0, high=32)
    """Residual blocks per level of the photograph's features."""
    sharpen: float = knob(0.0, low=0, high=4)
    """How much of its finest detail a picture has once more, where cells become pixels bilinearly, without a lattice.
    0: they do so two thirds by nearest neighbours, which NIQE likes better, and which leaves a weave."""

    def problems(self) -> Iterator[Problem]:
        if len(self.blocks) != len(self.channels):
            yield "blocks", f"has {len(self.blocks)} entries for {len(self.channels)} levels in channels; give one each"
        if len(self.photo_channels) > len(self.channels):
            yield "photo_channels", f"has more entries than channels, {len(self.channels)}"


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
    decoder: PhotoDecoderConfig = field(default_factory=PhotoDecoderConfig)
    """Another decoder than the encoder's mirror."""

    @property
    def downsample(self) -> int:
        """Pixels per code along a side, f."""
        return int(self.stem * 2 ** (len(self.channels) - 1))

    def problems(self) -> Iterator[Problem]:
        if bad := [width for width in self.channels if width % 32]:
            yield "channels", f"{bad} are no multiples of 32, which group normalisation needs"
        if not self.downsample or self.downsample > 32 or 32 % self.downsample:
            yield "channels", f"with stem {self.stem} make {self.downsample} px per code; it must divide 32"
        if (levels := len(self.decoder.channels)) and 2 ** (levels - 1) != self.downsample:
            yield "decoder.channels", f"has {levels} levels, and {self.downsample} px per code need one per halving"


@dataclass
class PerceptualConfig:
    """The perceptual loss."""

    features: Features = "none"
    """EfficientNet-Lite0's, which come in a package, or LPIPS with VGG16, whose trunk is a download; none: no loss."""
    weight: float = knob(1.0, low=0)
    """Its weight."""


@dataclass
class AdversarialConfig:
    """The adversarial loss: a PatchGAN with hinge loss; the defaults are LlamaGen's."""

    weight: float = knob(0.0, low=0)
    """What it counts for the tokenizer to convince the discriminator of pixels; 0: there is none (LlamaGen: 0.5)."""
    feature_weight: float = knob(0.0, low=0)
    """Likewise for one that sees features of EfficientNet-Lite0 (Projected GANs), which need not be learned first."""
    sees: Literal["pixels", "detail"] = "pixels"
    """What the discriminator of pixels sees: all of a picture, or what a low-pass filter leaves out, so that it judges
    texture alone, and learns sooner to (frequency separation, arXiv 1911.07850)."""
    start: int = knob(0, low=0)
    """Steps before the tokenizer has to convince them; they are trained from the first."""
    discriminator_weight: float = knob(1.0, above=0)
    """Weight of the discriminators' own loss."""
    channels: int = knob(64, low=1)
    """Channels of their first layers."""
    layers: int = knob(3, low=1, high=6)
    """Layers after the first, of pixels; with three, a score sees 70 px."""
    norm: Literal["batch", "spectral"] = "batch"
    """Normalisation between its layers; the one that sees features has `spectral`."""
    lecam: float = knob(0.0, low=0)
    """Weight of LeCam's regularisation of the discriminator (IBQ: 0.05)."""
    lr: float = knob(0.0, low=0)
    """The discriminators' learning rate; 0: `optim.lr`."""

    @property
    def plays(self) -> bool:
        """Whether there is any discriminator."""
        return bool(self.weight or self.feature_weight)


@dataclass
class PairsConfig:
    """Pairs of LQ and HQ pictures, from which a decoder learns to see the photograph."""

    share: float = knob(0.0, low=0, high=1)
    """Share of the training pictures that are decoded with the enlarged LQ picture in sight; the others without."""
    full: float = knob(0.5, low=0, high=1)
    """Share of these at fidelity 1; the others at one drawn uniformly between 0 and 1."""
    lq_codes: float = knob(0.5, low=0, high=1)
    """Mean share of cells, in these, whose code is the LQ picture's instead of the true one; each picture draws its
    own share."""
    misread: float = knob(0.0, low=0, high=1)
    """Largest share of cells, in these, whose code is then one of those most like it, as drawn ones are; each picture
    draws its own share up to this."""


@dataclass
class AutoencoderExperiment(Experiment):
    """What every experiment has that trains a visual tokenizer, whatever its codes are."""

    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    """The perceptual loss."""
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    """The adversarial loss."""

    def problems(self) -> Iterator[Problem]:
        yield from small_model_problems(self)
        if self.perceptual.features == "efficientnet" and self.data.size < 64:
            yield (
                "data.size",
                f"= {self.data.size} leaves nothing to see at EfficientNet's stride of 32; take 64 or more",
            )
        if self.adversarial.feature_weight and self.perceptual.features != "efficientnet":
            yield "adversarial.feature_weight", "> 0 judges the features of perceptual.features=efficientnet: set it"
        if self.adversarial.plays and self.trainer.accumulate > 1:
            yield "trainer.accumulate", "> 1 with an adversary: two optimizers step together; take a larger batch"


@dataclass
class TokenizerExperiment(AutoencoderExperiment):
    """Trains the visual tokenizer."""

    family: str = "tokenizer"
    vq: VQConfig = field(default_factory=VQConfig)
    """Architecture, and losses of pixels and codes."""
    keep_codes: bool = False
    """Keep encoder and codebook of `needs.start`: only the decoder is trained, and a backbone's codes stay valid."""
    pairs: PairsConfig = field(default_factory=PairsConfig)
    """How the decoder learns to see the photograph."""

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.keep_codes and not self.needs.start:
            yield "keep_codes", "= true keeps the encoder of another run: name it in needs.start"
        if self.pairs.misread and not self.keep_codes:
            yield "pairs.misread", "> 0 takes codes like the right ones, which must not move: set keep_codes=true"
        if self.keep_codes and self.vq.restart_every:
            yield "vq.restart_every", "moves codes, which keep_codes keeps: set it to 0"
        if self.vq.decoder.photo_channels and not self.pairs.share:
            yield "pairs.share", "is 0, and vq.decoder.photo_channels is not empty: nothing would train what sees"
        if self.pairs.share and not self.vq.decoder.photo_channels:
            yield "pairs.share", "is above 0, and vq.decoder.photo_channels is empty: this decoder sees no photograph"
