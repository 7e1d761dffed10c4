"""The speculative Jacobi engine: many cells per pass, and exactly the tokens of the plain engine.

Knows drafts, windows, and when a draft is right. Noise is fixed per (seed, image, cell), so the token of a cell is a
function of the tokens before it. A draft is right exactly when a pass that read only right tokens before it draws the
same token. There is no acceptance probability, and nothing to resample (compare arXiv 2410.01699, 2510.24211).

A picture is the sequence `start h w (codes newline)*` up to its last code. Newlines are always right, and so are codes
that are known before. A pass feeds the window of ids behind the cached ones: first the known ids, then drafts. It draws
a token for each next position. From the first unknown position on, a draw is right as long as all drafts before it were
right. Later draws become the next drafts. The drafts decide only how many passes a token takes, never which token it
is.

Shape legend: B images, S positions of the sequence, W window, C cells, N codes.
"""

from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import DrawnCodes, ImagePasses, Progress
from lit_pure.families.pure.sequence.layout import CLOSING


def decode_jacobi(
    passes: ImagePasses, lq_codes_BC: Tensor, progress: Progress | None, known_BC: Tensor | None = None
) -> DrawnCodes:
    """Decode all cells of each picture, (B, C). The LQ picture's codes of the same cells may be the first drafts.

    `known_BC`, on the CPU, has the codes that are known, and -1 elsewhere; without it, nothing is known.
    """
    state = JacobiState(passes, lq_codes_BC, known_BC)
    while not state.finished:
        before = state.made
        state.step()
        if progress is not None:
            progress(state.made - before)
    return state.drawn()


class JacobiState:
    """The sequences of a batch during decoding.

    `known`: number of final positions at the start of each sequence. `cached`: number of those in the caches, at least
    one less.
    """

    def __init__(self, passes: ImagePasses, lq_codes_BC: Tensor, known_BC: Tensor | None = None) -> None:
        grammar, batch, device = passes.grammar, passes.batch, passes.device
        self.passes, self.window, self.opening = passes, passes.config.window, len(grammar.opening)
        # For `one_shape` the plain engine is this one, with a single new token in each pass.
        self.most = self.window if passes.config.engine == "jacobi" else 1
        self.length = grammar.image_length - CLOSING  # without the last newline and the end token
        positions_S = torch.arange(self.length + self.window + 1, device=device) - self.opening
        column_S = positions_S % (grammar.width + 1)
        self.is_code_S = (positions_S >= 0) & (column_S < grammar.width) & (positions_S + self.opening < self.length)
        # A position without a code has the number of the next cell.
        self.cell_S = (positions_S.clamp(min=0) // (grammar.width + 1)) * grammar.width + column_S * (positions_S >= 0)
        self.ids_BS = torch.full((batch, len(positions_S)), grammar.newline, device=device)
        self.ids_BS[:, : self.opening] = torch.tensor(grammar.opening, device=device)
        drafts_BC = self._first_drafts(lq_codes_BC)
        self.settled_BS = (~self.is_code_S).repeat(batch, 1)
        self.given, self.goals = [[0] * (self.length + 1)] * batch, [self.length] * batch
        if known_BC is not None:
            self.given = [_given_before(row, grammar, self.length) for row in known_BC.tolist()]
            self.goals = [_behind_last_draw(row, grammar) for row in known_BC.tolist()]
            known_BC = known_BC.to(device)
            drafts_BC = torch.where(known_BC >= 0, known_BC, drafts_BC)
            self.settled_BS[:, self.is_code_S] = known_BC >= 0
        self.ids_BS[:, self.is_code_S] = passes.code_ids_N[drafts_BC]
        self.found: dict[str, Tensor] = {}
        self._begin()

    def _begin(self) -> None:
        """Count the positions that are final before the first pass; if they are many, feed them at once."""
        leading_B = leading(self.settled_BS[:, self.opening : self.length])
        self.known = [self.opening + count for count in leading_B.tolist()]
        common = min(self.known) - 1
        self.cached = [common if common > self.window else 0] * len(self.known)
        if self.cached[0]:
            self.passes.feed(self.ids_BS[:, :common])
        self.cached_B, self.known_B = (
            torch.tensor(counts, device=self.ids_BS.device) for counts in (self.cached, self.known)
        )

    @property
    def finished(self) -> bool:
        """Whether no cell is left to draw in any picture."""
        return all(count >= goal for count, goal in zip(self.known, self.goals, strict=True))

    @property
    def made(self) -> int:
        """Final positions of all pictures, without the codes that were known."""
        return sum(count - given[count] for count, given in zip(self.known, self.given, strict=True))

    def step(self) -> None:
        """One pass over the window of every picture."""
        window = self._window_left()
        offsets_W = torch.arange(window, device=self.ids_BS.device)
        fed_BW = self.cached_B[:, None] + offsets_W
        next_BW = fed_BW + 1
        cells_BW = self.cell_S[next_BW].clamp(max=self.passes.grammar.cells - 1)
        drawn = self.passes(self.ids_BS.gather(1, fed_BW), self._noise(next_BW), cells_BW)
        draft_BW = self.ids_BS.gather(1, next_BW)
        settled_BW = (next_BW < self.known_B[:, None]) | self.settled_BS.gather(1, next_BW)
        token_BW = torch.where(settled_BW, draft_BW, self.passes.code_ids_N[drawn.codes_BP])
        right_B = leading(token_BW == draft_BW)
        self.ids_BS.scatter_(1, next_BW, token_BW)
        if self.passes.config.drafts == "left":
            self._copy_to_the_right(next_BW[:, -1:])
        self._keep(drawn, next_BW)
        # All ids up to the last right draft are right, and so is the token drawn after it.
        cached_B = (self.cached_B + (right_B + 1).clamp(max=min(window, self.most))).clamp(max=self.length - 1)
        self.passes.commit(cached_B - self.cached_B, window)
        self.cached_B, self.known_B = cached_B, torch.maximum(self.known_B, cached_B + 1)
        self.cached, self.known = torch.stack([self.cached_B, self.known_B]).tolist()  # the only sync of a pass
        self.passes.sync_lengths(self.cached)

    def drawn(self) -> DrawnCodes:
        """What was drawn for the cells, without newlines."""
        cells = {name: part_BS[:, self.is_code_S] for name, part_BS in self.found.items()}
        return DrawnCodes(**cells)

    def _window_left(self) -> int:
        """Positions that the next pass feeds: behind the last draw nothing is left to feed.

        With graphs the window stays as it is, because each shape has its own, and so it does for `one_shape`.
        """
        if self.ids_BS.is_cuda or self.passes.config.one_shape:
            return self.window
        left = max(goal - count for goal, count in zip(self.goals, self.cached, strict=True)) - 1
        return min(self.window, left)

    def _first_drafts(self, lq_codes_BC: Tensor) -> Tensor:
        """Drafts of all codes before the first pass."""
        config, legal = self.passes.config, len(self.passes.code_ids_N)
        if config.drafts == "lq":
            return lq_codes_BC
        if config.drafts == "left":
            return torch.zeros_like(lq_codes_BC)  # until there is a code to copy
        draws = [np.random.default_rng([config.seed, image]) for image in self.passes.noise.images]
        codes = np.stack([rng.integers(legal, size=lq_codes_BC.shape[1]) for rng in draws])
        return torch.from_numpy(codes).to(lq_codes_BC.device)

    def _copy_to_the_right(self, last_B1: Tensor) -> None:
        """Draft every unknown code behind position `last` as a copy of the last code up to there."""
        last_B1 = last_B1 - (~self.is_code_S[last_B1]).long()
        behind_BS = torch.arange(self.ids_BS.shape[1], device=last_B1.device) > last_B1
        self.ids_BS = torch.where(behind_BS & ~self.settled_BS, self.ids_BS.gather(1, last_B1), self.ids_BS)

    def _noise(self, next_BW: Tensor) -> Tensor:
        """Noise (B, W, N) of the next positions; positions without a cell ignore theirs."""
        first = [self._cell(count + 1) for count in self.cached]
        noise_BCN = self.passes.noise.cells(first, next_BW.shape[1])
        index_BW = self.cell_S[next_BW] - torch.tensor(first, device=next_BW.device)[:, None]
        rows_B1 = torch.arange(len(first), device=next_BW.device)[:, None]
        return noise_BCN[rows_B1, index_BW.clamp(max=next_BW.shape[1] - 1)]

    def _cell(self, position: int) -> int:
        """The cell of a position, or the next one."""
        row, column = divmod(max(position - self.opening, 0), self.passes.grammar.width + 1)
        return row * self.passes.grammar.width + column

    def _keep(self, drawn: DrawnCodes, next_BW: Tensor) -> None:
        """Store what was drawn; a later pass overwrites what is not final yet."""
        rows_B1 = torch.arange(len(next_BW), device=next_BW.device)[:, None]
        for name, part_BW in vars(drawn).items():
            if part_BW is None:
                continue
            if name not in self.found:
                self.found[name] = part_BW.new_zeros((*self.ids_BS.shape, *part_BW.shape[2:]))
            self.found[name][rows_B1, next_BW] = part_BW


def _given_before(codes: list[int], grammar: Grammar, length: int) -> list[int]:
    """How many known codes of a picture lie before each position, up to `length`."""
    places = {grammar.place(cell) for cell, code in enumerate(codes) if code >= 0}
    return list(accumulate((position in places for position in range(length)), initial=0))


def _behind_last_draw(codes: list[int], grammar: Grammar) -> int:
    """The position behind the last unknown cell of a picture; 0 if it has none."""
    return max((grammar.place(cell) + 1 for cell, code in enumerate(codes) if code < 0), default=0)


def leading(right_BW: Tensor) -> Tensor:
    """The number of right drafts before the first wrong one, for each image."""
    return right_BW.long().cumprod(dim=1).sum(dim=1)
