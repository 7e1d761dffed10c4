"""A small NSARM: a tokenizer, networks and a batch with which every stage takes milliseconds."""

from collections.abc import Sequence

import torch

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.config.compose import override
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.families.nsarm.build import build_network
from lit_pure.families.nsarm.restorer import NSARMRestorer
from lit_pure.lit.data import Batch
from lit_pure.models.bit_tokenizer import BitTokenizer

SIZES = BitTokenizerConfig(
    stem=4, width=24, multipliers=[1], res_blocks=1, bits=4, patch=1, sides=[1, 2, 4, 8], l1_weight=1.0
)
SETTINGS = [
    "data.size=32",
    "evaluation.metrics=[psnr]",
    "transformer={width: 16, layers: 2, heads: 2, ffn: 24, bits: 4, levels: 5, text_width: 8, text_length: 6, "
    "pool_heads: 2, drop_path: 0.0, gate: 1.0}",
    "transformation={predicts: correction, stem: [8], widths: [8, 8], layers: [1, 1], heads: [2, 2], dropout: 0.0}",
    "text={kind: hashed, width: 8, max_tokens: 6}",
    "caption.lq=described",
]
"""Of 8x8 cells; the LQ picture's latent has 2x2, so two scales are the prefix."""


def experiment(*settings: str) -> NSARMExperiment:
    made = override(NSARMExperiment(), [*SETTINGS, *settings])
    assert isinstance(made, NSARMExperiment)
    return made


def tokenizer(seed: int = 0) -> BitTokenizer:
    torch.manual_seed(seed)
    return BitTokenizer(SIZES).requires_grad_(False).eval()


def restorer(*settings: str) -> NSARMRestorer:
    made = experiment(*settings)
    return NSARMRestorer(tokenizer(), build_network(made, SIZES.bits, {}), made)


def batch(names: Sequence[str] = ("a", "b"), size: int = 32) -> Batch:
    """Smooth pictures, each a function of its name's place."""
    coarse = torch.rand(len(names), 3, 4, 4, generator=torch.Generator().manual_seed(1))
    hq_B3HW = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return {
        "hq_B3HW": hq_B3HW,
        "lq_B3hw": torch.nn.functional.interpolate(hq_B3HW, (size // 4, size // 4), mode="area"),
        "caption": ["A bright picture."] * len(names),
        "name": list(names),
        "epoch": torch.zeros(len(names), dtype=torch.long),
        "index": torch.arange(len(names)),
        "unreadable": [""] * len(names),
    }
