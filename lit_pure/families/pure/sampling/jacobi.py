"""The speculative Jacobi engine: many cells in one pass, and exactly the tokens of the plain engine.

Knows drafts, windows, and when a draft is right. Noise is fixed per (seed, image, cell), so the token of a cell is a
function of what stands before it: a draft is right exactly when a pass that read only right tokens before it draws the
same token there. There is no acceptance probability, and nothing to resample (compare arXiv 2410.01699, 2510.24211).

A picture is the sequence `start h w (codes newline)*` up to its last code. Newlines are always right. A pass feeds the
window of ids behind what the cache holds: those known, then drafts. It draws a token for each next place; from the
first place that is not known, draws are right as far as the drafts before them were, and one further. What was drawn
behind that becomes the next draft. Which token a place gets does not depend on drafts, only in how many passes.

Shape legend: B images, S places of the sequence, W window, C cells, N codes.
"""

import numpy as np
import torch
from torch import Tensor

from lit_pure.families.pure.sampling.passes import DrawnCodes, ImagePasses, Progress
from lit_pure.families.pure.sequence.layout import CLOSING


def decode_jacobi(passes: ImagePasses, lq_codes_BC: Tensor, progress: Progress | None) -> DrawnCodes:
    """All cells of each picture, (B, C). The LQ picture's codes at the same cells are one choice of first drafts."""
    state = JacobiState(passes, lq_codes_BC)
    while min(state.known) < state.length:
        before = sum(state.known)
        state.step()
        if progress is not None:
            progress(sum(state.known) - before)
    return state.drawn()


class JacobiState:
    """The sequences of a batch while they are written.

    `known`: places of each sequence that are final. `cached`: those that the caches hold, at least one less.
    """

    def __init__(self, passes: ImagePasses, lq_codes_BC: Tensor) -> None:
        grammar, batch, device = passes.grammar, passes.batch, passes.device
        self.passes, self.window, self.opening = passes, passes.config.window, len(grammar.opening)
        self.length = grammar.image_length - CLOSING  # without the last newline and the end
        self.cached, self.known = [0] * batch, [self.opening] * batch
        self.cached_B, self.known_B = (torch.tensor(count, device=device) for count in (self.cached, self.known))
        places_S = torch.arange(self.length + self.window + 1, device=device) - self.opening
        column_S = places_S % (grammar.width + 1)
        self.is_code_S = (places_S >= 0) & (column_S < grammar.width) & (places_S + self.opening < self.length)
        # A place that is no code has the number of the next cell.
        self.cell_S = (places_S.clamp(min=0) // (grammar.width + 1)) * grammar.width + column_S * (places_S >= 0)
        self.ids_BS = torch.full((batch, len(places_S)), grammar.newline, device=device)
        self.ids_BS[:, : self.opening] = torch.tensor(grammar.opening, device=device)
        self.ids_BS[:, self.is_code_S] = passes.code_ids_N[self._first_drafts(lq_codes_BC)]
        self.found: dict[str, Tensor] = {}

    def step(self) -> None:
        """One pass over every picture's window."""
        offsets_W = torch.arange(self.window, device=self.ids_BS.device)
        fed_BW = self.cached_B[:, None] + offsets_W
        next_BW = fed_BW + 1
        drawn = self.passes(self.ids_BS.gather(1, fed_BW), self._noise(next_BW))
        draft_BW = self.ids_BS.gather(1, next_BW)
        settled_BW = (next_BW < self.known_B[:, None]) | ~self.is_code_S[next_BW]
        token_BW = torch.where(settled_BW, draft_BW, self.passes.code_ids_N[drawn.codes_BP])
        right_B = leading(token_BW == draft_BW)
        self.ids_BS.scatter_(1, next_BW, token_BW)
        if self.passes.config.drafts == "left":
            self._copy_to_the_right(next_BW[:, -1:])
        self._keep(drawn, next_BW)
        # What was read is right up to the last right draft; the token after it is right too.
        cached_B = (self.cached_B + (right_B + 1).clamp(max=self.window)).clamp(max=self.length - 1)
        self.passes.commit(cached_B - self.cached_B, self.window)
        self.cached_B, self.known_B = cached_B, torch.maximum(self.known_B, cached_B + 1)
        self.cached, self.known = torch.stack([self.cached_B, self.known_B]).tolist()  # the one look per pass
        self.passes.sync_lengths(self.cached)

    def drawn(self) -> DrawnCodes:
        """What was found for the cells, without newlines."""
        cells = {name: part_BS[:, self.is_code_S] for name, part_BS in self.found.items()}
        return DrawnCodes(**cells)

    def _first_drafts(self, lq_codes_BC: Tensor) -> Tensor:
        """Guesses of all codes before anything is drawn."""
        config, legal = self.passes.config, len(self.passes.code_ids_N)
        if config.drafts == "lq":
            return lq_codes_BC
        if config.drafts == "left":
            return torch.zeros_like(lq_codes_BC)  # until there is a cell to copy
        draws = [np.random.default_rng([config.seed, image]) for image in self.passes.noise.images]
        codes = np.stack([rng.integers(legal, size=lq_codes_BC.shape[1]) for rng in draws])
        return torch.from_numpy(codes).to(lq_codes_BC.device)

    def _copy_to_the_right(self, last_B1: Tensor) -> None:
        """Every code behind place `last` is guessed to be the last one up to it."""
        last_B1 = last_B1 - (~self.is_code_S[last_B1]).long()
        behind_BS = torch.arange(self.ids_BS.shape[1], device=last_B1.device) > last_B1
        self.ids_BS = torch.where(behind_BS & self.is_code_S, self.ids_BS.gather(1, last_B1), self.ids_BS)

    def _noise(self, next_BW: Tensor) -> Tensor:
        """Noise (B, W, N) of the places whose tokens are drawn; that of places without a cell is not used."""
        first = [self._cell(count + 1) for count in self.cached]
        noise_BCN = self.passes.noise.cells(first, self.window)
        index_BW = self.cell_S[next_BW] - torch.tensor(first, device=next_BW.device)[:, None]
        rows_B1 = torch.arange(len(first), device=next_BW.device)[:, None]
        return noise_BCN[rows_B1, index_BW.clamp(max=self.window - 1)]

    def _cell(self, place: int) -> int:
        """The cell of a place, or the next one."""
        row, column = divmod(max(place - self.opening, 0), self.passes.grammar.width + 1)
        return row * self.passes.grammar.width + column

    def _keep(self, drawn: DrawnCodes, next_BW: Tensor) -> None:
        """Write down what was drawn; what was not final yet is overwritten by a later pass."""
        rows_B1 = torch.arange(len(next_BW), device=next_BW.device)[:, None]
        for name, part_BW in vars(drawn).items():
            if part_BW is None:
                continue
            if name not in self.found:
                self.found[name] = part_BW.new_zeros((*self.ids_BS.shape, *part_BW.shape[2:]))
            self.found[name][rows_B1, next_BW] = part_BW


def leading(right_BW: Tensor) -> Tensor:
    """How many in a row are right from the left, for each image: what follows a wrong draft was drawn in vain."""
    return right_BW.long().cumprod(dim=1).sum(dim=1)
