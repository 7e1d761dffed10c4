"""NSARM's restorer: the first scales from the LQ picture, the others drawn one after the other.

Knows the way of a square: enlarged picture -> prefix -> caption -> bits of all scales -> picture -> colours.
Photographs of any size are `restoring/tiled.py`'s. Knows nothing of training, files or run folders.

Shape legend: B pictures, s side of the model's square [px], D bits of a latent cell, H W the last grid of cells, h w
tokens of the last scale, l what a tile shows [px].
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from lit_pure.config.experiment import ColorFix, RestoringExperiment
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.datasets.captions.describe import describe
from lit_pure.families.nsarm.bits import BitNoise
from lit_pure.families.nsarm.network import NSARMNetwork
from lit_pure.families.nsarm.prefix import PrefixMaker, TokenCodes
from lit_pure.families.nsarm.scales import decode_scales
from lit_pure.families.nsarm.schedule import schedule_of
from lit_pure.families.nsarm.weights import save_restorer
from lit_pure.files.names import number_of
from lit_pure.images.io import to_bytes
from lit_pure.images.tiles import Tile
from lit_pure.models import bsq
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.text_encoder import make_text_encoder
from lit_pure.restoring import tiled
from lit_pure.restoring.contract import CellMap, Clock, Progress, Restoration, SquareRestorer
from lit_pure.restoring.photo import PhotoProgress, RestoredPhoto
from lit_pure.restoring.rendering import fix_squares


@dataclass(frozen=True)
class _Drawn:
    """The codes of a batch of squares."""

    sum_BDHW: Tensor
    """Of all scales: what the tokenizer decodes."""
    entropy_Bhw: Tensor | None = None
    """Mean over the bits of each token of the last scale [nats]."""
    passes: int = 0


class NSARMRestorer(SquareRestorer):
    """Restores pictures with a frozen bitwise tokenizer and a network.

    Without a transformation network the prefix is the LQ picture's own; without a transformer the prefix is all that
    the picture has.
    """

    def __init__(self, tokenizer: BitTokenizer, network: NSARMNetwork, experiment: NSARMExperiment) -> None:
        """Raises ValueError where tokenizer, network and sizes do not fit."""
        self.tokenizer, self.network, self.experiment = tokenizer, network, experiment
        self.size, self.scale = experiment.data.size, experiment.data.degradation.scale
        self.restoring, self.sampling, self.caption = experiment.restoring, experiment.sampling, experiment.caption
        self.schedule = schedule_of(experiment, tokenizer.config)
        self.prefix = PrefixMaker(tokenizer, network.transformation, experiment.prefix, self.schedule)
        self.codes = TokenCodes(tokenizer.config, self.schedule, experiment.resize)
        self.text = make_text_encoder(experiment.text)
        self._prefix_identity = experiment.prefix.identity()

    def parts(self) -> Mapping[str, nn.Module]:
        parts = {"transformer": self.network.transformer, "transformation": self.prefix.transformation}
        return {name: part for name, part in {**parts, "tokenizer": self.tokenizer}.items() if part is not None}

    def to(self, device: torch.device) -> "NSARMRestorer":
        """Move all parts, also those that are not used."""
        self.network.to(device)
        self.tokenizer.to(device)
        return self

    @property
    def expected_tokens(self) -> int:
        return self.schedule.drawn if self.network.transformer else 0

    def with_settings(self, settings: RestoringExperiment) -> Self:
        assert isinstance(settings, NSARMExperiment)
        other = super().with_settings(settings)
        other.sampling = settings.sampling
        return other

    def settings(self) -> dict[str, Any]:
        sections = {"prefix": self._prefix_identity}
        if self.network.transformer:
            sections |= {"sampling": self.sampling.identity(), "caption": self.caption.identity()}
        return sections

    def computing(self) -> dict[str, str]:
        dtype = next(self.network.parameters()).dtype
        return {"engine": "scales", "dtype": str(dtype).removeprefix("torch.")}

    def restore_squares(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        *,
        color_fix: ColorFix,
        shown: tuple[int, int] | None = None,
        given: Sequence[str] | None = None,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> list[Restoration]:
        """As the contract says. `given` are captions, which become the words; there is a map, `entropy`."""
        began = time.perf_counter()
        with _evaluating(self.network):
            residuals_BDhw = self.prefix(enlarged_B3ss)
            if clock:
                clock("prefix")
            drawn = self._draw(residuals_BDhw, enlarged_B3ss, names, given, progress)
        if clock:
            clock("scales")
        made_B3ss = self.tokenizer.decode(drawn.sum_BDHW)
        if clock:
            clock("decode")
        shown = shown or (self.size, self.size)
        fixed_B3ll = fix_squares(made_B3ss, enlarged_B3ss, shown, color_fix, self.restoring)
        seconds = (time.perf_counter() - began) / len(names)
        words = [{"caption": caption} for caption in given] if given else [{} for _ in names]
        tokens = self.expected_tokens
        return [
            Restoration(fixed_3ll, seconds, words[row], self._maps(drawn, row, shown), tokens, drawn.passes)
            for row, fixed_3ll in enumerate(fixed_B3ll)
        ]

    def restore_photo(
        self,
        photo_3hw: Tensor,
        name: str,
        scale: int | None = None,
        color_fix: ColorFix | None = None,
        progress: PhotoProgress | None = None,
        given: Callable[[Tile], str] | None = None,
    ) -> RestoredPhoto:
        """Restore one photograph of any size; arguments and errors are those of `tiled.restore_photo`."""
        return tiled.restore_photo(self, photo_3hw, name, scale, color_fix, progress, given)

    def save_to(self, folder: Path) -> None:
        save_restorer(folder, self.experiment, self.tokenizer, self.network)

    def captions(self, enlarged_B3ss: Tensor) -> list[str]:
        """What the transformer reads of LQ pictures of which nobody says anything."""
        if self.caption.lq == "fixed":
            return [self.caption.text] * len(enlarged_B3ss)
        return [describe(image_3ss) for image_3ss in to_bytes(enlarged_B3ss).cpu()]

    @torch.no_grad()
    def prefix_alone(self, residuals_BDhw: Sequence[Tensor]) -> Tensor:
        """The picture (B, 3, s, s) in [0, 1] of a prefix, all later scales left out."""
        return self.tokenizer.decode(self._sum(residuals_BDhw))

    @torch.no_grad()
    def _draw(
        self,
        residuals_BDhw: Sequence[Tensor],
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        given: Sequence[str] | None,
        progress: Progress | None,
    ) -> _Drawn:
        """The codes of all scales, with the prefix that is given."""
        transformer, device = self.network.transformer, enlarged_B3ss.device
        if transformer is None:
            return _Drawn(self._sum(residuals_BDhw))
        decoded = decode_scales(
            transformer,
            self.codes,
            self.text(given or self.captions(enlarged_B3ss), device),
            self.schedule.grids,
            self.schedule.frame,
            self.sampling,
            BitNoise(self.sampling.seed, [number_of(name) for name in names], device),
            known=self.prefix.tokens(residuals_BDhw),
            keep_logits=True,
            progress=progress,
        )
        last_BNb2 = decoded.logits[-1]
        assert last_BNb2 is not None
        entropy_Bhw = bit_entropy(last_BNb2).mean(-1).unflatten(1, self.schedule.grids[-1])
        return _Drawn(decoded.sum_BdHW, entropy_Bhw, decoded.passes)

    def _sum(self, residuals_BDhw: Sequence[Tensor]) -> Tensor:
        bits = [bsq.quantize(each_BDhw) > 0 for each_BDhw in residuals_BDhw]
        return bsq.decode_scales(bits, self.schedule.cells[-1])

    def _maps(self, drawn: _Drawn, row: int, shown: tuple[int, int]) -> dict[str, CellMap]:
        if drawn.entropy_Bhw is None:
            return {}
        cell = self.tokenizer.config.token_pixels
        rows, columns = (-(-side // cell) for side in shown)
        return {"entropy": CellMap(drawn.entropy_Bhw[row, :rows, :columns], "nats", cell, math.log(2))}


def bit_entropy(logits_BNb2: Tensor) -> Tensor:
    """Entropy (B, N, b) of each bit as it is drawn, but for clipping [nats]."""
    log_p = logits_BNb2.float().log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


@contextmanager
def _evaluating(network: nn.Module) -> Any:
    """Inside, the network is in evaluation mode and nothing has a gradient."""
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)
