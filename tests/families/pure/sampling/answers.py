"""A small model with a head far from uniform, prompts of different length, and its answers to them."""

import torch

from lit_pure.config.pure import BackboneConfig, GuidanceMode, SamplingConfig
from lit_pure.families.pure.sampling.decode import Decoded, decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.models.next_token import NextTokenBackbone

VOCABULARY = make_vocabulary(["Medium blur, small noise. A bright picture."] * 5, codes=64, words=300)
HEIGHT, WIDTH = 4, 8


def make_backbone() -> NextTokenBackbone:
    torch.manual_seed(1)
    model = NextTokenBackbone(BackboneConfig(width=32, layers=2, heads=4, ffn=48, dropout=0.0), VOCABULARY.size)
    torch.nn.init.normal_(model.head.weight, std=0.5)  # far from uniform, so that entropies differ
    model.head.weight.data[VOCABULARY.image_start] *= 2.5  # opens the image now and then
    return model.eval()


def assembler(mode: GuidanceMode, text_length: int = 0) -> Assembler:
    return Assembler(VOCABULARY, mode, downsample=8, max_caption=30, text_length=text_length)


def prompts(mode: GuidanceMode) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 4), (4, 12), (8, 4))
    return [assembler(mode).prompt(torch.randint(64, shape, generator=generator)) for shape in shapes]


def lq_codes(rows: list[int]) -> torch.Tensor:
    """First drafts of the Jacobi engine; what they are must not matter."""
    return torch.randint(64, (3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(5))[rows]


def answer(
    backbone: NextTokenBackbone, mode: GuidanceMode, config: SamplingConfig, rows: list[int], text_length: int = 0
) -> Decoded:
    grammar = Grammar.of(assembler(mode, text_length), HEIGHT, WIDTH)
    chosen = [prompts(mode)[row] for row in rows]
    names = [row + 10 for row in rows]
    return decode(backbone, chosen, grammar, config, names, lq_codes(rows), keep_logits=True)
