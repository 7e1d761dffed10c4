"""One pass of the backbone over the picture: feed, guide, draw.

Knows how conditional and unconditional rows pass through the backbone as one batch, and that only codes are legal in a
cell. All engines make their passes here, so all draw from the same distributions. Knows nothing of the order in which
an engine visits the cells.

Shape legend: B images, R rows (B conditional, then B unconditional), T ids fed, P the last of them, whose successors
are drawn, N codes, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.prior import ExpectedCodes
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.graphs import PAD_MULTIPLE, Graphs, call_eager
from lit_pure.families.pure.sampling.logits import draw, guide
from lit_pure.families.pure.sampling.noise import GumbelNoise
from lit_pure.models.cache import KVCache
from lit_pure.models.fused import Reader
from lit_pure.models.next_token import Head

Progress = Callable[[int], None]
"""Called with the number of new tokens."""


FEW_ROWS = 2
"""Up to so many rows a product with a transposed matrix is faster on a CPU: two to five times, measured."""


@dataclass(frozen=True)
class DrawnCodes:
    """Codes, and the distributions from which they were drawn. In an engine's result P is all cells of the picture."""

    codes_BP: Tensor
    entropy_BP: Tensor
    """Entropy of each guided distribution [nats]."""
    k_BP: Tensor
    logits_BPN: Tensor | None = None
    """Guided logits, if asked for."""


class ImagePasses:
    """What the passes over a batch of pictures share: caches with prompt and text, noise, the head's rows of codes."""

    def __init__(
        self,
        reader: Reader,
        head: Head,
        grammar: Grammar,
        config: SamplingConfig,
        conditional: KVCache,
        images: Sequence[int],
        keep_logits: bool,
        expected: ExpectedCodes | None = None,
    ) -> None:
        """`images`: a non-negative number for each image, which selects its noise; `expected`: for a head's prior."""
        self.reader, self.head, self.grammar, self.config, self.keep_logits = reader, head, grammar, config, keep_logits
        self.batch, self.device = len(images), conditional.length_B.device
        self.code_ids_N = grammar.code_ids_N.to(self.device)
        self.head_ND = _laid_out(head.weight[self.code_ids_N], self._rows)  # only codes are legal in a cell
        self.expected = expected
        known = expected is not None
        assert (head.prior_1 is not None) == known, "a head with a prior needs to know what is expected"
        self.noise = GumbelNoise(config.seed, images, grammar.width, len(self.code_ids_N), self.device)
        self._call = make_caller(conditional)
        if config.one_shape:
            conditional.pad_multiple = conditional.capacity  # it is always read as a whole
        self.caches = [conditional]
        if config.guidance != 1:
            # It holds `start h w` and the codes from position 0, without prompt and text.
            self.caches.append(conditional.empty_like(grammar.image_length + config.window))
        self._before = [cache.length_B.tolist() for cache in self.caches]
        self.count = 0
        """Number of passes so far."""

    def __call__(
        self, ids_BT: Tensor, noise_BPN: Tensor, cells_BP: Tensor, last_B1: Tensor | None = None
    ) -> DrawnCodes:
        """Feed ids to the rows of every image and draw the successors of the last P; the caches do not grow.

        `cells_BP` are the cells that are drawn; positions without a cell may have any. Where rows have ids of different
        number, `last_B1` is the index of each row's last one, and P is 1.
        """
        self.count += 1
        steps = ids_BT.shape[1]
        inputs = (ids_BT, noise_BPN, cells_BP) if last_B1 is None else (ids_BT, noise_BPN, cells_BP, last_B1)
        # All that a pass depends on besides its tensors.
        key = (steps, noise_BPN.shape[1], len(inputs), *(cache.shape_key(steps) for cache in self.caches))
        return DrawnCodes(*self._call(self._draw, key, *inputs))

    def feed(self, ids_BT: Tensor) -> None:
        """Feed ids that nothing is drawn after to the rows of every image, and keep them."""
        self.count += 1
        self.reader.feed(ids_BT.repeat(len(self.caches), 1), self.caches)
        self.commit(ids_BT.shape[1], ids_BT.shape[1])

    def commit(self, counts: Tensor | int, most: int) -> None:
        """Keep the first `counts` of the ids fed last, of each image; no count exceeds `most`."""
        for cache in self.caches:
            cache.commit(counts, most)

    def sync_lengths(self, kept: Sequence[int]) -> None:
        """Set how many ids of each image are kept so far, so that no pass reads further than needed."""
        for cache, before in zip(self.caches, self._before, strict=True):
            cache.sync_lengths([length + count for length, count in zip(before, kept, strict=True)])

    @property
    def _rows(self) -> int:
        """Rows that the head multiplies at once."""
        wide = self.config.engine == "jacobi" or self.config.one_shape
        return self.batch * (self.config.window if wide else 1)

    def _draw(
        self, ids_BT: Tensor, noise_BPN: Tensor, cells_BP: Tensor, last_B1: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        drawn = noise_BPN.shape[1]
        hidden_RTD = self.reader.feed(ids_BT.repeat(len(self.caches), 1), self.caches)
        hidden_BPD = hidden_RTD[:, -drawn:]  # of all rows R
        if last_B1 is not None:
            last_R1 = last_B1.repeat(len(self.caches), 1)
            hidden_BPD = hidden_RTD.gather(1, last_R1[..., None].expand(-1, -1, hidden_RTD.shape[-1]))
        if len(self.caches) > 1:
            # The head is linear: guiding the states is guiding the logits, at half the cost.
            precise_RPD = hidden_BPD.to(_at_least_float32(hidden_BPD))
            conditional_BPD, unconditional_BPD = precise_RPD.split(self.batch)
            guided_BPD = guide(conditional_BPD, unconditional_BPD, self.config.guidance)
            hidden_BPD = guided_BPD.to(self.head_ND.dtype)
        logits_BPN = F.linear(hidden_BPD, self.head_ND)
        logits_BPN = logits_BPN.to(_at_least_float32(logits_BPN))
        if self.expected is not None:
            weight_BP1 = self.head.prior_weight(hidden_BPD) + self.config.prior
            logits_BPN = logits_BPN + weight_BP1 * self.expected.cosines(cells_BP)
        flat = draw(logits_BPN.flatten(0, 1), noise_BPN.flatten(0, 1), self.config, may_look(self.device))
        parts = tuple(part.view(self.batch, drawn) for part in flat)
        return (*parts, logits_BPN) if self.keep_logits else parts


def make_caller(cache: KVCache) -> Callable[..., tuple[Tensor, ...]]:
    """What calls a pass: with CUDA a graph, for which the cache is read in multiples, otherwise the function itself.

    It takes the pass as an argument: a reference would make a cycle, which keeps caches alive long after their picture.
    """
    if not cache.length_B.is_cuda:
        return call_eager
    cache.pad_multiple = PAD_MULTIPLE
    return Graphs()


def may_look(device: torch.device) -> bool:
    """Whether the host may look at a result in the middle of a pass: elsewhere it would wait for the device."""
    return device.type == "cpu"


def _laid_out(head_ND: Tensor, rows: int) -> Tensor:
    """The same matrix, stored in the order in which a CPU reads it: for few rows the columns lie together."""
    few = head_ND.device.type == "cpu" and rows <= FEW_ROWS
    return head_ND.T.contiguous().T if few else head_ND


def _at_least_float32(part: Tensor) -> torch.dtype:
    return torch.promote_types(part.dtype, torch.float32)
