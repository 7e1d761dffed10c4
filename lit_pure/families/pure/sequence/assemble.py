"""From a sample to one sequence of ids with labels, and back.

Knows the order of a PURE sequence: `<s> instruction [LQ image] end | answer [HQ image] end`, where an image is
`start h w (codes newline)* end`; before the HQ image, text may be filled up to a length. Asks the vocabulary for every
id and the template for every word. Knows nothing of models. Only the answer has labels.

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
"""The label of a position that is not learned."""


@dataclass(frozen=True)
class Sample:
    """What a sequence is made from. Codes are integer grids (h, w); the answer's parts may be absent when parsed."""

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
class Words:
    """What an answer says before its image."""

    blur: Level
    noise: Level
    caption: str


class Assembler:
    """Builds and reads sequences of one guidance mode."""

    def __init__(
        self, vocabulary: Vocabulary, mode: GuidanceMode, downsample: int, max_caption: int, text_length: int = 0
    ) -> None:
        """`downsample`: pixels per code along a side, which turns a grid into size tokens (units of 32 px).

        With `text_length` all text takes as many tokens: captions are cut to it, and what is shorter is filled up.
        Raises ValueError where that leaves no room for words.
        """
        self.vocabulary, self.mode, self.max_caption = vocabulary, mode, max_caption
        self.text_length = text_length if mode != "none" else 0
        self._cells_per_unit = SIZE_UNIT // downsample
        self._room = max_caption
        if self.text_length:
            sentences = (answer_text(mode, blur, noise, "") for blur in LEVELS for noise in LEVELS)
            longest = max(len(vocabulary.encode(sentence)) for sentence in sentences)
            # A caption's last space may be a token of its own.
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
                f"a grid of {height}x{width} codes is no multiple of {self._cells_per_unit} codes ({SIZE_UNIT} px)"
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

    def text(self, words: Words) -> list[int]:
        """The ids of an answer's text, as far as the mode has words."""
        return self.vocabulary.encode(answer_text(self.mode, words.blur, words.noise, self._fit(words.caption)))

    def answer(self, sample: Sample) -> Tensor:
        """`answer text [HQ image] end` (T,). Raises ValueError where the mode's segments are missing."""
        text = self.text(Words(*self._levels(sample), sample.caption))
        block = self.image_block(sample.hq_codes_hw)
        said = block.new_tensor([*text, *self.filler(len(text))])
        return torch.cat([said, block, block.new_tensor([self.vocabulary.turn_end])])

    def filler(self, spoken: int) -> list[int]:
        """What follows a text of so many tokens, so that the image stands where it always does."""
        return [self.vocabulary.pad] * (self.text_length - spoken)

    def assemble(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Ids (T,) and labels (T,): IGNORE on the prompt, the ids themselves on the answer.

        Nothing is filled up by a model: after its last word it learns to open the image, and of filler nothing.
        """
        prompt, answer = self.prompt(sample.lq_codes_hw), self.answer(sample)
        filled_T = answer == self.vocabulary.pad
        labels = answer.masked_fill(filled_T, IGNORE)
        labels[filled_T.nonzero()[:1, 0]] = self.vocabulary.image_start
        return torch.cat([prompt, answer]), torch.cat([torch.full_like(prompt, IGNORE), labels])

    def unconditional(self, hq_codes_hw: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and labels of the image alone, which guidance's unconditional branch continues: `start h w` is given."""
        ids = torch.cat([block := self.image_block(hq_codes_hw), block.new_tensor([self.vocabulary.turn_end])])
        labels = ids.clone()
        labels[:OPENING] = IGNORE
        return ids, labels

    def batch(self, samples: Sequence[Sample], bare: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """Ids (B, T) and labels (B, T), padded on the right; `bare` samples lose their condition."""
        pairs = [
            self.unconditional(sample.hq_codes_hw) if alone else self.assemble(sample)
            for sample, alone in zip(samples, bare, strict=True)
        ]
        ids_BT = pad_sequence([ids for ids, _ in pairs], batch_first=True, padding_value=self.vocabulary.pad)
        labels_BT = pad_sequence([labels for _, labels in pairs], batch_first=True, padding_value=IGNORE)
        return ids_BT, labels_BT

    def parse(self, ids_T: Tensor) -> Sample:
        """The sample that a sequence of this mode was made from. Raises ValueError where it is none."""
        ids = ids_T.tolist()
        head = len(self._instruction)
        if ids[:head] != self._instruction:
            raise ValueError(f"the sequence does not begin with the instruction of mode {self.mode}")
        lq_codes_hw, end = self._read_image(ids_T, head)
        if ids[end] != self.vocabulary.turn_end:
            raise ValueError(f"expected the end of the prompt at position {end}, found id {ids[end]}")
        start = self._find(ids, self.vocabulary.image_start, end)
        said = [token for token in ids[end + 1 : start] if token != self.vocabulary.pad]
        blur, noise, caption = read_answer(self.mode, self.vocabulary.decode(said))
        hq_codes_hw, _ = self._read_image(ids_T, start)
        return Sample(lq_codes_hw, hq_codes_hw, blur, noise, caption)

    def _levels(self, sample: Sample) -> tuple[Level, Level]:
        if self.mode in ("perception", "full") and (sample.blur is None or sample.noise is None):
            raise ValueError(f"mode {self.mode} needs blur and noise levels; give the sample labels (needs.dem)")
        return sample.blur or "small", sample.noise or "small"

    def _fit(self, caption: str) -> str:
        """A caption of at most as many tokens as there is room for, cut between words."""
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
            raise ValueError(f"the image at position {start} holds ids that are no codes, or lacks its newlines")
        return codes_hw, stop + 1

    @staticmethod
    def _find(ids: list[int], wanted: int, start: int) -> int:
        try:
            return ids.index(wanted, start)
        except ValueError:
            raise ValueError("the answer holds no image") from None
