"""The plain engine: one pass of the backbone for each cell, in raster order; known cells take no pass.

Knows the order of the cells, and feeds known codes and newlines together with the code before them. Reads nothing back
from the device, so the host runs ahead. Knows nothing of prompts, text or pictures.

Each picture passes over its own unknown cells: in one pass two pictures may be at different cells.

Shape legend: B images, C cells, J turns, S positions of the sequence, T ids fed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import DrawnCodes, ImagePasses, Progress


@dataclass(frozen=True)
class Turn:
    """One pass: each picture is fed its ids from `starts` to `ends`, and draws the cell behind them."""

    starts: list[int]
    ends: list[int]
    cells: list[int]
    """The cell that each picture draws; their total number where it has none left."""
    made: int
    """Tokens that are made: a code for each picture with a cell left, and the newline behind a row."""

    @property
    def uniform(self) -> bool:
        """Whether all pictures do the same."""
        return len(set(zip(self.starts, self.ends, self.cells, strict=True))) == 1


def decode_plain(passes: ImagePasses, progress: Progress | None, known_BC: Tensor | None = None) -> DrawnCodes:
    """Draw all unknown cells of each picture, (B, C); the caches already hold prompt and text.

    `known_BC`, on the CPU, has the codes that are known, and -1 elsewhere; without it, nothing is known.
    """
    turns = list(plan_turns(passes.grammar, passes.batch, known_BC))
    ids_BS = _known_ids(passes, known_BC)
    # Sent to the device at once: it must not be waited for at every turn.
    starts_JB, ends_JB, cells_JB = (
        torch.tensor([getattr(turn, part) for turn in turns], device=passes.device)
        for part in ("starts", "ends", "cells")
    )
    draws: list[DrawnCodes] = []
    for turn, start_B, end_B, cells_B in zip(turns, starts_JB, ends_JB, cells_JB, strict=True):
        cells_B1 = cells_B[:, None].clamp(max=passes.grammar.cells - 1)
        noise_B1N = passes.noise.each([min(cell, passes.grammar.cells - 1) for cell in turn.cells])
        if turn.uniform:
            drawn = passes(ids_BS[:, turn.starts[0] : turn.ends[0]], noise_B1N, cells_B1)
            passes.commit(turn.ends[0] - turn.starts[0], turn.ends[0] - turn.starts[0])
            ids_BS[:, turn.ends[0]] = passes.code_ids_N[drawn.codes_BP[:, 0]]
        else:
            drawn = _uneven(passes, turn, start_B, end_B, ids_BS, noise_B1N, cells_B1)
        draws.append(drawn)
        if progress is not None:
            progress(turn.made)
    return _by_cell(passes, draws, cells_JB)


def plan_turns(grammar: Grammar, batch: int, known_BC: Tensor | None) -> Iterator[Turn]:
    """The passes over the unknown cells; as many as the picture with the most of them has."""
    everything = [-1] * grammar.cells
    known = [everything] * batch if known_BC is None else known_BC.tolist()
    unknown = [[cell for cell, code in enumerate(row) if code < 0] for row in known]
    fed = [0] * batch
    for index in range(max(map(len, unknown))):
        cells = [own[index] if index < len(own) else grammar.cells for own in unknown]
        left = [cell for cell in cells if cell < grammar.cells]
        ends = [grammar.place(cell) if cell < grammar.cells else at for cell, at in zip(cells, fed, strict=True)]
        newlines = sum(cell % grammar.width == grammar.width - 1 for cell in left)
        yield Turn(fed, ends, cells, len(left) + newlines)
        fed = ends


def _uneven(
    passes: ImagePasses,
    turn: Turn,
    start_B: Tensor,
    end_B: Tensor,
    ids_BS: Tensor,
    noise_B1N: Tensor,
    cells_B1: Tensor,
) -> DrawnCodes:
    """A turn in which pictures are fed ids of different number; what is fed behind a picture's own is not kept."""
    counts = [end - start for start, end in zip(turn.starts, turn.ends, strict=True)]
    most = max(counts)
    counts_B = end_B - start_B
    fed_BT = start_B[:, None] + torch.arange(most, device=start_B.device)
    ids_BT = ids_BS.gather(1, fed_BT.clamp(max=ids_BS.shape[1] - 1))
    drawn = passes(ids_BT, noise_B1N, cells_B1, (counts_B - 1).clamp(min=0)[:, None])
    passes.commit(counts_B, most)
    passes.sync_lengths(turn.ends)
    # A picture without a cell left keeps the id that it has.
    next_B1 = end_B[:, None]
    done_B1 = (counts_B == 0)[:, None]
    ids_BS.scatter_(1, next_B1, torch.where(done_B1, ids_BS.gather(1, next_B1), passes.code_ids_N[drawn.codes_BP]))
    return drawn


def _known_ids(passes: ImagePasses, known_BC: Tensor | None) -> Tensor:
    """Ids (B, S) of the pictures: opening, known codes, newlines; any code where it is not known yet."""
    grammar = passes.grammar
    ids_BS = torch.full((passes.batch, grammar.image_length), grammar.newline, device=passes.device)
    ids_BS[:, : len(grammar.opening)] = torch.tensor(grammar.opening, device=passes.device)
    if known_BC is not None:
        places_C = torch.tensor([grammar.place(cell) for cell in range(grammar.cells)], device=passes.device)
        ids_BS[:, places_C] = passes.code_ids_N[known_BC.clamp(min=0).to(passes.device)]
    return ids_BS


def _by_cell(passes: ImagePasses, draws: Sequence[DrawnCodes], cells_JB: Tensor) -> DrawnCodes:
    """What was drawn, by cell; 0 in cells that were not drawn."""
    rows_B1 = torch.arange(passes.batch, device=passes.device)[:, None]
    parts: dict[str, Tensor] = {}
    for name, first in vars(draws[0]).items():
        if first is not None:
            drawn_BJ = torch.cat([getattr(one, name) for one in draws], dim=1)
            # The last one is of pictures that had no cell left.
            found_BC = drawn_BJ.new_zeros((passes.batch, passes.grammar.cells + 1, *drawn_BJ.shape[2:]))
            found_BC[rows_B1, cells_JB.T] = drawn_BJ
            parts[name] = found_BC[:, :-1]
    return DrawnCodes(**parts)
