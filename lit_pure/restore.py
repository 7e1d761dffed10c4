"""From a low-quality picture to its restoration: perceive, understand, restore.

Knows the way through the frozen parts: enlarge -> codes -> prompt -> answer -> codes -> picture. Knows nothing of
training, files or run folders.

Shape legend: B pictures, s side of the model's square [px], h w grid of codes.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.models import SamplingConfig
from lit_pure.config.schema import Level
from lit_pure.images.geometry import pad_to_square, resize, shrink_to_fit, unpad
from lit_pure.sampling.grammar import Grammar
from lit_pure.sampling.plain import Progress, decode
from lit_pure.sequence.assemble import Assembler
from lit_pure.sequence.template import read_answer
from lit_pure.tokens.vq import VQTokenizer


@dataclass(frozen=True)
class Restoration:
    """What became of one picture."""

    image_3HW: Tensor
    """The restored picture in [0, 1]."""
    text: str
    """The answer's text as the model wrote it."""
    blur: Level | None
    """Perceived blur; None where the mode or the model says nothing of it."""
    noise: Level | None
    """Perceived noise."""
    caption: str
    """The description; empty where the mode has none."""
    entropy_hw: Tensor
    """Entropy of each image token [nats]."""
    k_hw: Tensor
    """The k that each image token was drawn with."""
    tokens_per_second: float
    """Tokens of the batch by the seconds it took."""


def image_number(name: str) -> int:
    """A number that names an image for the sampling noise: the same name gives the same noise everywhere."""
    return zlib.crc32(name.encode())


class Restorer:
    """Restores pictures with a backbone and a frozen tokenizer."""

    def __init__(
        self,
        tokenizer: VQTokenizer,
        backbone: NextTokenBackbone,
        assembler: Assembler,
        sampling: SamplingConfig,
        size: int,
        scale: int,
    ) -> None:
        """`size`: side of the model's square [px]; `scale`: how many times a side is enlarged."""
        if tokenizer.config.codes != assembler.vocabulary.codes:
            raise ValueError(
                f"the tokenizer has {tokenizer.config.codes} codes and the vocabulary {assembler.vocabulary.codes}; "
                "choose another needs.tokenizer, or make a vocabulary with `lit-pure vocabulary`"
            )
        self.tokenizer, self.backbone, self.assembler = tokenizer, backbone, assembler
        self.sampling, self.size, self.scale = sampling, size, scale

    def to(self, device: torch.device) -> "Restorer":
        """Move backbone and tokenizer."""
        self.backbone.to(device)
        self.tokenizer.to(device)
        return self

    @property
    def lq_side(self) -> int:
        """Side of the largest picture that is restored without being reduced first [px]."""
        return self.size // self.scale

    def restore(self, lq_B3hw: Tensor, names: Sequence[str], progress: Progress | None = None) -> list[Restoration]:
        """Restore a batch of squares of side `size / scale` (any size is stretched to the square)."""
        codes_Bhw = self.tokenizer.encode(resize(lq_B3hw, self.size, self.size))
        prompts = [self.assembler.prompt(codes_hw) for codes_hw in codes_Bhw]
        grammar = Grammar.of(self.assembler, *codes_Bhw.shape[1:])
        numbers = [image_number(name) for name in names]
        was_training = self.backbone.training
        self.backbone.eval()
        decoded = decode(self.backbone, prompts, grammar, self.sampling, numbers, progress)
        self.backbone.train(was_training)
        images_B3ss = self.tokenizer.decode(decoded.codes_Bhw)
        speed = decoded.tokens / decoded.seconds
        results = []
        for row, ids in enumerate(decoded.text):
            text = self.assembler.vocabulary.decode(ids)
            answer = read_answer(self.assembler.mode, text)
            maps = (decoded.entropy_Bhw[row], decoded.k_Bhw[row])
            results.append(Restoration(images_B3ss[row], text.strip(), *answer, *maps, speed))
        return results

    def restore_photo(self, photo_3hw: Tensor, name: str, progress: Progress | None = None) -> Restoration:
        """Restore one photograph of any shape, enlarged `scale` times.

        What does not fit into the model's square is reduced first: the longer side to `lq_side`.
        """
        lq_3hw = shrink_to_fit(photo_3hw, self.lq_side)
        height, width = lq_3hw.shape[-2:]
        square_3ss = pad_to_square(lq_3hw, self.lq_side)
        restored = self.restore(square_3ss[None].to(next(self.backbone.parameters()).device), [name], progress)[0]
        image_3HW = unpad(restored.image_3HW, height * self.scale, width * self.scale)
        cells = [-(-edge * self.scale // self.tokenizer.downsample) for edge in (height, width)]
        entropy_hw, k_hw = (grid[: cells[0], : cells[1]] for grid in (restored.entropy_hw, restored.k_hw))
        return replace(restored, image_3HW=image_3HW, entropy_hw=entropy_hw, k_hw=k_hw)


def bicubic(lq_B3hw: Tensor, size: int) -> Tensor:
    """What every restoration is compared to: bicubic enlargement to `size` x `size`."""
    with torch.no_grad():
        return resize(lq_B3hw, size, size)
