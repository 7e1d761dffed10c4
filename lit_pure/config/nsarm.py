"""The knobs of NSARM's experiments: stages, prefix, self-correction, losses, captions (arXiv 2510.00820).

Knows names, types, defaults and legal ranges (`knob`). NSARM's training code is not published; a default that is not
from the paper or its inference code says so. The networks' knobs are in the files beside this one. Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from lit_pure.config.bit_tokenizer import Resize
from lit_pure.config.experiment import RestoringExperiment
from lit_pure.config.knobs import Problem, identity, knob
from lit_pure.config.next_scale import NextScaleConfig, ScaleSamplingConfig
from lit_pure.config.text_encoder import TextEncoderConfig
from lit_pure.config.transformation import TransformationConfig

Stage = Literal["pretrain", "stage1", "stage2"]
"""What is trained: the transformer on HQ pictures; the transformation network alone; both, end to end."""


@dataclass
class PrefixConfig:
    """The first scales, which are not drawn but come from the LQ picture."""

    source: Literal["network", "lq"] = "network"
    """The transformation network; or, without any network, the codes of the enlarged LQ picture (not published)."""
    scales: int = knob(0, low=0)
    """How many; 0: all whose grids fit into the latent of the LQ picture, which are NSARM's 7 for 256 px."""

    def identity(self) -> dict[str, Any]:
        """All that a picture depends on."""
        return identity(self)


@dataclass
class FlipsConfig:
    """Bitwise self-correction (arXiv 2412.04431, section 3.4): bits are flipped after they became labels."""

    strength: float = knob(0.3, low=0, high=1)
    """Largest share of flipped bits of a scale; 0: none, as in NSARM's stage 2."""
    scales: int = knob(0, low=0)
    """Scales, from the first, whose bits are flipped; 0: all. Those of a prefix never are."""
    keep_gradient: bool = True
    """Let the gradient pass through scales with flips, where it is published to be cut."""


@dataclass
class PrefixLossesConfig:
    """What the prefix costs. None of it is published but that stage 1 is a regression."""

    anchor: float = knob(10.0, low=0)
    """Weight in stage 2 of the distance of the prefix from the HQ picture's own; 0: none, as published; a small network
    then learns prefixes whose rest is easy to predict, and which are no picture."""
    consistency: float = knob(0.0, low=0)
    """Weight of the squared error between running sums of predicted and of true residuals, in stages 1 and 2."""


@dataclass
class CaptionConfig:
    """Words about a picture that the transformer reads."""

    dropout: float = knob(0.1, low=0, high=1)
    """Share of training captions that learned rows stand in for; guidance needs them."""
    lq: Literal["fixed", "described"] = "fixed"
    """Caption of an LQ picture, in stage 2 and when it is restored: always `text`, or what its pixels show."""
    text: str = "A high-quality image with harmonious colors and rich details."
    """The fixed caption; NSARM's own captions are LLaVA's, and this one is its alternative."""

    def identity(self) -> dict[str, Any]:
        """All that a picture depends on."""
        return identity(self, silent=["dropout", *(["text"] if self.lq == "described" else [])])


@dataclass
class NSARMExperiment(RestoringExperiment):
    """Trains one of NSARM's stages, and tests how it restores."""

    family: str = "nsarm"
    stage: Stage = "stage2"
    """`pretrain` needs a tokenizer, `stage1` too, `stage2` also a transformer and a transformation network."""
    transformer: NextScaleConfig = field(default_factory=NextScaleConfig)
    """Predicts the bits of the next scale."""
    transformation: TransformationConfig = field(default_factory=TransformationConfig)
    """Predicts the prefix."""
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    """Reads captions; frozen."""
    caption: CaptionConfig = field(default_factory=CaptionConfig)
    """Which captions."""
    prefix: PrefixConfig = field(default_factory=PrefixConfig)
    """The first scales."""
    flips: FlipsConfig = field(default_factory=FlipsConfig)
    """Self-correction, in `pretrain` and `stage2`."""
    losses: PrefixLossesConfig = field(default_factory=PrefixLossesConfig)
    """Weights of losses beside the cross entropy."""
    resize: Resize = "trilinear"
    """How the sum of codes becomes the next scale's input; NSARM's published weights were evaluated with `area`."""
    sampling: ScaleSamplingConfig = field(default_factory=ScaleSamplingConfig)
    """Decoding."""

    @property
    def trains_transformer(self) -> bool:
        """Whether this stage trains the transformer."""
        return self.stage != "stage1"

    @property
    def trains_transformation(self) -> bool:
        """Whether this stage trains the transformation network."""
        return self.stage != "pretrain" and self.prefix.source == "network"

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        size, width, length = self.data.size, self.text.width, self.text.max_tokens
        scale = self.data.degradation.scale
        if scale > 0 and size % scale:
            yield "data.size", f"= {size} is no multiple of data.degradation.scale {scale}; take one"
        if width != self.transformer.text_width:
            yield (
                "transformer.text_width",
                f"= {self.transformer.text_width} does not read text.width {width}; equal it",
            )
        if length > self.transformer.text_length:
            wanted = f"text.max_tokens {length}"
            yield "transformer.text_length", f"= {self.transformer.text_length} is below {wanted}; take as many"
        if self.stage == "stage1" and self.prefix.source == "lq":
            yield "prefix.source", "= lq has nothing to train in stage1; skip that stage, or take network"
        branches = len(self.transformation.widths)
        if self.trains_transformation and self.prefix.scales not in (0, branches):
            yield "prefix.scales", f"= {self.prefix.scales} for {branches} branches of transformation; equal them"
        if self.flips.scales > self.transformer.levels:
            yield (
                "flips.scales",
                f"= {self.flips.scales} is above transformer.levels {self.transformer.levels}; lower it",
            )
        if self.needs.weights:
            return
        if self.stage != "stage2" and (self.needs.transformer or self.needs.transformation):
            yield "needs", f"of {self.stage} take a tokenizer alone; only stage2 builds on other stages"
