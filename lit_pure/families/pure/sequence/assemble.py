"""Builds one sequence of ids and labels from a sample, and reads it back.

Knows the order of a PURE sequence: `<s> instruction [LQ image] end | answer [HQ image] end`, where an image is
`start h w (codes newline)* end`. Before the HQ image, the text may be padded to a fixed length. The vocabulary gives
every id, and the template every word. Knows nothing of models. Only the answer has labels.

Shape legend: B batch, T sequence, h w grid of codes, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lit_pure.config.dem import LEVELS, Level
from lit_pure.config.pure import GuidanceMode
from lit_pure.families.pure.sequence.layout import OPENING
from lit_pure.families.pure.sequence.template import INSTRUCTIONS, UNDERSTANDS, answer_text, clean, read_answer
from lit_pure.families.pure.sequence.vocabulary import SIZE_UNIT, Vocabulary

IGNORE = -100
"""The label of positions without a loss."""


@dataclass(frozen=True)
class Sample:
    """The content of a sequence. Codes are integer grids (h, w). In a parsed one, levels and caption may be missing."""

    lq_codes_hw: Tensor
    hq_codes_hw: Tensor
    blur: Level | None = None
    noise: Level | None = None
    caption: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sample):
            return NotImplemented
        words = (self.blur, self.noise, self.caption) == (other.blur, other.noise, other.caption)
        pairs = ((self.lq_codes_hw, other.lq_codes_hw), (self.hq_codes_hw, other.hq_codes_hw))
        return words and all(torch.equal(a, b) for a, b in pairs)


@dataclass(frozen=True)
class AnswerWords:
    """The content of an answer's text."""

    blur: Level
    noise: Level
    caption: str


class Assembler:
    """Builds and reads sequences of one guidance mode."""

    def __init__(
        self, vocabulary: Vocabulary, mode: GuidanceMode, downsample: int, max_caption: int, text_length: int = 0
    ) -> None:
        """
        Args:
            vocabulary: gives the ids.
            mode: decides which text an answer has.
            downsample: pixels per code along a side; size tokens count units of 32 px.
            max_caption: longest caption [tokens].
            text_length: the fixed length of all text [tokens]: captions are cut to fit, and short text is padded. 0
                leaves text at its own length.

        Raises:
            ValueError: `text_length` leaves no room for words.
        """
        self.vocabulary, self.mode, self.max_caption = vocabulary, mode, max_caption
        self.text_length = text_length if mode != "none" else 0
        self._cells_per_unit = SIZE_UNIT // downsample
        self._room = max_caption
        if self.text_length:
            sentences = (answer_text(mode, blur, noise, "") for blur in LEVELS for noise in LEVELS)
            longest = max(len(vocabulary.encode(sentence)) for sentence in sentences)
            # A caption's last space may be its own token.
            self._room = min(max_caption, text_length - longest - 1)
            if self._room < 1:
                raise ValueError(
                    f"sequence.text_length = {text_length} leaves no room for words: a sentence takes up to {longest} "
                    "tokens; make it larger, or 0"
                )
        self._instruction = [vocabulary.bos, *vocabulary.encode(INSTRUCTIONS[mode])]

    def opening(self, height: int, width: int) -> list[int]:
        """`start h w` of a grid of `height` x `width` codes. Raises ValueError where no size token fits."""
        if height % self._cells_per_unit or width % self._cells_per_unit:
            raise ValueError(
                f"a grid of {height}x{width} codes is not a multiple of {self._cells_per_unit} codes ({SIZE_UNIT} px)"
            )
        sizes = (self.vocabulary.size_id(side // self._cells_per_unit) for side in (height, width))
        return [self.vocabulary.image_start, *sizes]

    def image_block(self, codes_hw: Tensor) -> Tensor:
        """`start h w (codes newline)* end` (T,) on the codes' device."""
        height, width = codes_hw.shape
        ids_hw = self.vocabulary.code_ids_N.to(codes_hw.device)[codes_hw]
        rows = torch.nn.functional.pad(ids_hw, (0, 1), value=self.vocabulary.newline).flatten()
        opening = rows.new_tensor(self.opening(height, width))
        return torch.cat([opening, rows, rows.new_tensor([self.vocabulary.image_end])])

    def prompt(self, lq_codes_hw: Tensor) -> Tensor:
        """`<s> instruction [LQ image] end` (T,)."""
        block = self.image_block(lq_codes_hw)
        return torch.cat([block.new_tensor(self._instruction), block, block.new_tensor([self.vocabulary.turn_end])])

    def text(self, words: AnswerWords) -> list[int]:
        """The ids of an answer's text, with the parts that the mode has."""
        return self.vocabulary.encode(answer_text(self.mode, words.blur, words.noise, self._fit(words.caption)))

    def answer(self, sample: Sample) -> Tensor:
        """`answer text [HQ image] end` (T,). Raises ValueError where the sample lacks what the mode needs."""
        text = self.text(AnswerWords(*self._levels(sample), sample.caption))
        block = self.image_block(sample.hq_codes_hw)
        padded = block.new_tensor([*text, *self.filler(len(text))])
        return torch.cat([padded, block, block.new_tensor([self.vocabulary.turn_end])])

    def filler(self, length: int) -> list[int]:
        """The padding behind a text of `length` tokens, so that the image always has the same position."""
        return [self.vocabulary.pad] * (self.text_length - length)

    def assemble(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Ids (T,) and labels (T,): IGNORE on the prompt, the ids themselves on the answer.

        A model never writes filler: after the last word it learns to start the image, and filler has no labels.
        """
        prompt, answer = self.prompt(sample.lq_codes_hw), self.answer(sample)
        filler_T = answer == self.vocabulary.pad
        labels = answer.masked_fill(filler_T, IGNORE)
        labels[filler_T.nonzero()[:1, 0]] = self.vocabulary.image_start
        return torch.cat([prompt, answer]), torch.cat([torch.full_like(prompt, IGNORE), labels])

    def unconditional(self, hq_codes_hw: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and labels of the image alone, for the unconditional branch of guidance; `start h w` has no labels."""
        ids = torch.cat([block := self.image_block(hq_codes_hw), block.new_tensor([self.vocabulary.turn_end])])
        labels = ids.clone()
        labels[:OPENING] = IGNORE
        return ids, labels

    def batch(self, samples: Sequence[Sample], bare: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """Ids (B, T) and labels (B, T), padded on the right; `bare` samples are unconditional."""
        pairs = [
            self.unconditional(sample.hq_codes_hw) if alone else self.assemble(sample)
            for sample, alone in zip(samples, bare, strict=True)
        ]
        ids_BT = pad_sequence([ids for ids, _ in pairs], batch_first=True, padding_value=self.vocabulary.pad)
        labels_BT = pad_sequence([labels for _, labels in pairs], batch_first=True, padding_value=IGNORE)
        return ids_BT, labels_BT

    def parse(self, ids_T: Tensor) -> Sample:
        """The sample in a sequence of this mode. Raises ValueError if it is no such sequence."""
        ids = ids_T.tolist()
        head = len(self._instruction)
        if ids[:head] != self._instruction:
            raise ValueError(f"the sequence does not begin with the instruction of mode {self.mode}")
        lq_codes_hw, end = self._read_image(ids_T, head)
        if ids[end] != self.vocabulary.turn_end:
            raise ValueError(f"expected the end of the prompt at position {end}, found id {ids[end]}")
        start = self._find(ids, self.vocabulary.image_start, end)
        text = [token for token in ids[end + 1 : start] if token != self.vocabulary.pad]
        blur, noise, caption = read_answer(self.mode, self.vocabulary.decode(text))
        hq_codes_hw, _ = self._read_image(ids_T, start)
        return Sample(lq_codes_hw, hq_codes_hw, blur, noise, caption)

    def _levels(self, sample: Sample) -> tuple[Level, Level]:
        if self.mode in ("perception", "full") and (sample.blur is None or sample.noise is None):
            raise ValueError(f"mode {self.mode} needs blur and noise levels; give the sample labels (needs.dem)")
        return sample.blur or "small", sample.noise or "small"

    def _fit(self, caption: str) -> str:
        """A caption cut between words to the tokens that fit."""
        words = clean(caption).split(" ")
        if self.mode not in UNDERSTANDS:
            return ""
        while len(words) > 1 and len(self.vocabulary.encode(" ".join(words))) > self._room:
            words.pop()
        return " ".join(words)

    def _read_image(self, ids_T: Tensor, start: int) -> tuple[Tensor, int]:
        """The grid of the image block at `start` and the position after it."""
        head = ids_T[start : start + 3].tolist()
        if len(head) < 3 or head[0] != self.vocabulary.image_start:
            raise ValueError(f"expected an image at position {start}")
        height, width = (self.vocabulary.size_units(token) * self._cells_per_unit for token in head[1:])
        stop = start + 3 + height * (width + 1)
        if len(ids_T) <= stop or int(ids_T[stop]) != self.vocabulary.image_end:
            raise ValueError(f"the image at position {start} is not {height}x{width} codes long")
        rows_hw = ids_T[start + 3 : stop].view(height, width + 1)
        codes_hw = self.vocabulary.id_codes_V.to(ids_T.device)[rows_hw[:, :-1]]
        if bool((codes_hw < 0).any()) or bool((rows_hw[:, -1] != self.vocabulary.newline).any()):
            raise ValueError(f"the image at position {start} holds ids that are not codes, or lacks its newlines")
        return codes_hw, stop + 1

    @staticmethod
    def _find(ids: list[int], wanted: int, start: int) -> int:
        try:
            return ids.index(wanted, start)
        except ValueError:
            raise ValueError("the answer holds no image") from None
