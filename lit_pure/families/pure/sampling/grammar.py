"""The legal ids at each position of an answer.

Knows the order of an answer (text, `start h w`, rows of codes that end with newlines, end) and which of its tokens are
forced; those are never sampled. Knows nothing of logits or models.

Shape legend: N image codes, V vocabulary.
"""

from dataclasses import dataclass, field

from torch import Tensor

from lit_pure.config.pure import GuidanceMode
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.layout import image_length


@dataclass(frozen=True)
class Grammar:
    """The answer to one prompt whose picture is `height` x `width` codes."""

    height: int
    width: int
    has_text: bool
    """Whether text comes before the image."""
    opening: list[int]
    """`start h w`: the two sizes are forced."""
    newline: int
    image_end: int
    text_V: Tensor
    """True for the ids that are legal in the text: words, and the start of the image, which ends the text."""
    code_ids_N: Tensor
    """The only ids that are legal in a cell, in the order of their codes."""
    filler: list[int] = field(default_factory=list)
    """Fed after a text that is shorter, up to this length; empty feeds nothing."""

    @classmethod
    def of(cls, assembler: Assembler, height: int, width: int) -> "Grammar":
        """The grammar of an assembler's mode and vocabulary."""
        vocabulary, mode = assembler.vocabulary, assembler.mode
        silent: GuidanceMode = "none"
        text_V = vocabulary.text_V.clone()
        text_V[vocabulary.image_start] = True
        return cls(
            height,
            width,
            mode != silent,
            assembler.opening(height, width),
            vocabulary.newline,
            vocabulary.image_end,
            text_V,
            vocabulary.code_ids_N,
            assembler.filler(0),
        )

    @property
    def image_start(self) -> int:
        """The id that ends the text."""
        return self.opening[0]

    @property
    def cells(self) -> int:
        """Codes of the image."""
        return self.height * self.width

    def place(self, cell: int) -> int:
        """The position of a cell in the image, whose opening is at 0."""
        row, column = divmod(cell, self.width)
        return len(self.opening) + row * (self.width + 1) + column

    @property
    def image_length(self) -> int:
        """Ids of the whole image: opening, cells, newlines and end."""
        return image_length(self.height, self.width)
