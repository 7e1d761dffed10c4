"""The first scales from the LQ picture, and the tokenizer's part of decoding all scales.

Knows the frozen tokenizer, the transformation network and the schedule of a square. Knows nothing of the transformer,
of captions or of losses.

Shape legend: B pictures, s side of the model's square [px], D bits of a latent cell, h w a scale's grid of cells, H W
the last one, N tokens of a scale, b bits of a token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lit_pure.config.bit_tokenizer import BitTokenizerConfig, Resize
from lit_pure.config.nsarm import PrefixConfig
from lit_pure.families.nsarm.schedule import Schedule
from lit_pure.images.geometry import resize
from lit_pure.models import bsq
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.transformation import AnyTransformation


class PrefixMaker:
    """Residuals of the prefix scales of an enlarged LQ picture."""

    def __init__(
        self,
        tokenizer: BitTokenizer,
        transformation: AnyTransformation | None,
        config: PrefixConfig,
        schedule: Schedule,
    ) -> None:
        """Without a transformation network they are those of the enlarged picture itself, whatever `config` says.

        Raises ValueError where the network has another number of branches than the prefix has scales.
        """
        self.tokenizer, self.schedule = tokenizer, schedule
        self.transformation = transformation if config.source == "network" else None
        branches = len(self.transformation.config.widths) if self.transformation else schedule.known
        if branches != schedule.known:
            raise ValueError(
                f"a prefix of {schedule.known} scales for a transformation network of {branches} branches; "
                f"set prefix.scales={branches}, or prefix.source=lq"
            )

    def __call__(self, enlarged_B3ss: Tensor) -> list[Tensor]:
        """(B, D, h, w) of each scale, before their signs are taken; with gradient for the transformation network.

        The network reads the latent of the LQ picture: of the enlarged one made as small as in training, since this is
        all that is known of a square of a photograph, whatever its scale.
        """
        network, baseline = self.transformation, None
        if network is None or network.config.predicts == "correction":
            features_BDHW = self.tokenizer.encode(enlarged_B3ss)
            found = bsq.encode_scales(features_BDHW, self.schedule.cells)
            baseline = found.residuals_BDhw[: self.schedule.known]
        if network is None:
            assert baseline is not None
            return baseline
        side = self.schedule.lq_side
        latent_BDhw = self.tokenizer.encode(resize(enlarged_B3ss, side, side))
        return network(latent_BDhw, self.schedule.cells[: self.schedule.known], baseline)

    def tokens(self, residuals_BDhw: Sequence[Tensor]) -> list[Tensor]:
        """Their bits (B, N, b), bool, as tokens."""
        patch = self.tokenizer.config.patch
        return [bsq.patchify((bsq.quantize(each) > 0).float(), patch) > 0 for each in residuals_BDhw]


class TokenCodes:
    """A `ScaleCodes` for the squares of a tokenizer."""

    def __init__(self, tokenizer: BitTokenizerConfig, schedule: Schedule, how: Resize) -> None:
        """`how` a sum of codes is brought to the next scale's grid."""
        self.bits, self.patch, self.cells, self.how = tokenizer.bits, tokenizer.patch, schedule.cells, how

    def begin(self, pictures: int, device: torch.device) -> Tensor:
        return torch.zeros(pictures, self.bits, *self.cells[-1], device=device)

    def add(self, sum_BdHW: Tensor, bits_BNb: Tensor, scale: int) -> Tensor:
        bits_BDhw = bsq.unpatchify(bits_BNb.float(), self.cells[scale], self.patch)
        return sum_BdHW + bsq.enlarge(bsq.codes(bits_BDhw), self.cells[-1])

    def inputs(self, sum_BdHW: Tensor, scale: int) -> Tensor:
        return bsq.patchify(bsq.shrink(sum_BdHW, self.cells[scale], self.how), self.patch)
