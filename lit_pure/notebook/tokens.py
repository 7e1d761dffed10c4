"""Prompt and answer as the model sees them: pieces of text, marks, and grids of image codes.

Knows the order of a sequence, and shows it as HTML and as figures. The vocabulary knows what an id means.

Suffixes: T ids, h w grid of codes, 3 RGB, s side of a picture [px].
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lit_pure.families.pure.sequence.vocabulary import BOS, SIZE_UNIT, Vocabulary
from lit_pure.images.geometry import resize
from lit_pure.notebook.style import WIDTH, Panel, draw_panel, make_axes, styled
from lit_pure.notebook.subject import Answer, Subject

CELLS = 16
"""Codes along a side that are written as numbers; a larger grid shows its upper left part."""
_KINDS = {"text": "#dbe9f6", "mark": "#f3e3c3", "codes": "#dcefdc"}


@dataclass(frozen=True)
class Piece:
    """One token of text, one mark, or all codes of an image."""

    kind: str
    """text, mark or codes."""
    words: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Html:
    """Content that a notebook shows as HTML."""

    content: str

    def _repr_html_(self) -> str:
        return self.content


def split_sequence(vocabulary: Vocabulary, ids: Sequence[int]) -> list[Piece]:
    """A sequence in readable pieces; all codes of an image, with their newlines, are one piece."""
    marks = {
        vocabulary.bos: BOS,
        vocabulary.image_start: "image begins",
        vocabulary.image_end: "image ends",
        vocabulary.turn_end: "end of turn",
        vocabulary.pad: "padding",
    }
    found: list[Piece] = []
    codes: list[int] = []
    for token in [*ids, None]:
        if token is not None and (token == vocabulary.newline or int(vocabulary.id_codes_V[token]) >= 0):
            codes.append(token)
            continue
        if codes:
            rows = codes.count(vocabulary.newline)
            columns = (len(codes) - rows) // max(rows, 1)
            found.append(Piece("codes", f"{rows} rows of {columns} codes and a newline", tuple(codes)))
            codes = []
        if token is None:
            break
        if bool(vocabulary.text_V[token]):
            found.append(Piece("text", vocabulary.decode([token]), (token,)))
        else:
            found.append(Piece("mark", marks.get(token) or _size_mark(vocabulary, token), (token,)))
    return found


def prompt_ids(subject: Subject, answer: Answer) -> list[int]:
    """The ids of the prompt, including the LQ picture's codes."""
    return subject.restorer.assembler.prompt(answer.lq_codes_hw).tolist()


def answer_ids(subject: Subject, answer: Answer) -> list[int]:
    """The ids of the answer: text and its filler, picture, end."""
    assembler, text = subject.restorer.assembler, answer.decoded.text[0]
    block = assembler.image_block(answer.codes_hw).tolist()
    return [*text, *assembler.filler(len(text)), *block, assembler.vocabulary.turn_end]


def as_html(subject: Subject, answer: Answer) -> Html:
    """Prompt and answer, one coloured chip per piece; a tooltip shows the ids."""
    vocabulary = subject.restorer.assembler.vocabulary
    parts = [
        _block(f"{name}: {len(ids)} tokens", split_sequence(vocabulary, ids))
        for name, ids in (("Prompt", prompt_ids(subject, answer)), ("Answer", answer_ids(subject, answer)))
    ]
    return Html("".join(parts))


@styled
def code_grids(subject: Subject, answer: Answer) -> Figure:
    """The codes of the LQ picture and of the answer, each over its part of the picture."""
    side = subject.restorer.size
    enlarged_3ss = resize(subject.lq_3hw[None].cpu(), side, side)[0]
    figure, axes = make_axes(1, 2, WIDTH, WIDTH / 2 + 0.3)
    same = float((answer.lq_codes_hw == answer.codes_hw).float().mean())
    rows, columns = answer.codes_hw.shape
    part = f"upper left of {rows} x {columns}" if max(rows, columns) > CELLS else f"{rows} x {columns}"
    _draw_codes(axes[0], enlarged_3ss, answer.lq_codes_hw, f"codes of the LQ picture, enlarged ({part})")
    _draw_codes(axes[1], answer.image_3ss, answer.codes_hw, f"codes of the answer ({same:.0%} as in the LQ picture)")
    return figure


def _draw_codes(ax: Axes, image_3ss: Tensor, codes_hw: Tensor, title: str) -> None:
    cell = image_3ss.shape[-1] // codes_hw.shape[-1]
    shown_hw = codes_hw[:CELLS, :CELLS].cpu()
    part_3ss = image_3ss[:, : cell * shown_hw.shape[0], : cell * shown_hw.shape[1]]
    pale_3ss = torch.lerp(part_3ss, torch.ones_like(part_3ss), 0.55)  # so that black numbers are readable
    draw_panel(ax, Panel(title, pale_3ss))
    for row, line in enumerate(shown_hw.tolist()):
        for column, code in enumerate(line):
            x, y = (cell * (position + 0.5) - 0.5 for position in (column, row))
            ax.text(x, y, str(code), ha="center", va="center", fontsize=5.5)
    for edge in range(1, max(shown_hw.shape)):
        ax.axhline(edge * cell - 0.5, color="white", linewidth=0.4)
        ax.axvline(edge * cell - 0.5, color="white", linewidth=0.4)


def _size_mark(vocabulary: Vocabulary, token: int) -> str:
    try:
        units = vocabulary.size_units(token)
    except ValueError:
        return f"id {token}"
    return f"{units} x {SIZE_UNIT} px"


def _block(title: str, found: Sequence[Piece]) -> str:
    chips = "".join(
        f'<span title="{_ids(piece)}" style="background:{_KINDS[piece.kind]};color:#222;border-radius:3px;'
        f'padding:1px 3px;margin:1px;display:inline-block;white-space:pre">{html.escape(_visible(piece))}</span>'
        for piece in found
    )
    return (
        f'<div style="margin:4px 0 10px"><b>{html.escape(title)}</b>'
        f'<div style="font-family:monospace;line-height:1.7">{chips}</div></div>'
    )


def _visible(piece: Piece) -> str:
    """Text with visible spaces and line ends."""
    return piece.words.replace(" ", "·").replace("\n", "↵") if piece.kind == "text" else piece.words


def _ids(piece: Piece) -> str:
    shown = ", ".join(map(str, piece.ids[:8]))
    return f"id {shown}" if len(piece.ids) <= 8 else f"ids {shown}, ..."
