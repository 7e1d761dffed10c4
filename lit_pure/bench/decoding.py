"""`bench decode`: three ways to decode the same picture with the same weights, side by side in one run.

Knows presets, what is timed (one answer from prompt to last code, text left out) and how rows are made. Weights are
random: speed and passes per token do not need trained ones, except those of `jacobi`, whose passes depend on how
predictable the codes are (`drafts.py` measures them on trained weights). Prints nothing.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lit_pure.bench.memory import Peak
from lit_pure.bench.reference import ReferenceLoop, upstream
from lit_pure.config.pure import BackboneConfig, SamplingConfig
from lit_pure.families.pure.sampling.decode import decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import Progress
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.precision import prepare

Engine = Literal["reference", "plain", "jacobi"]
ENGINES: tuple[Engine, ...] = ("reference", "plain", "jacobi")
CODES = 16384
WORDS = 85
"""Ids of the prompt that are no picture: instruction and text."""


@dataclass(frozen=True)
class Preset:
    """A size of model and picture."""

    backbone: BackboneConfig
    side: int
    """Codes along a side of the picture."""
    dtype: torch.dtype = torch.float32


TINY = BackboneConfig(width=256, layers=4, heads=4, ffn=688, dropout=0.0)
PRESETS = {
    "tiny": Preset(TINY, 16),
    "tiny-512": Preset(TINY, 64),
    "7b": Preset(BackboneConfig(dropout=0.0), 64, torch.bfloat16),
}
VOCABULARY = 73728


@dataclass(frozen=True)
class Row:
    """What one engine did."""

    engine: str
    batch: int
    tokens: int
    """Of the pictures, newlines included."""
    seconds: float
    tokens_per_second: float
    passes: int
    """Forwards of the backbone, a batched one counted once; the prompt's apart."""
    tokens_per_pass: float
    ms_per_pass: float
    peak_mib: float | None
    ratio: float | None = None
    """Tokens per second over those of the reference."""


class Contest:
    """A random model and a prompt; `rows` lets each engine answer it."""

    def __init__(self, preset: Preset, device: torch.device, sampling: SamplingConfig, batch: int) -> None:
        """`batch`: pictures at once for our engines; the reference makes one."""
        self.preset, self.device, self.sampling, self.batch = preset, device, sampling, batch
        self.backbone = random_backbone(preset, device, sampling.seed)
        self.grammar = make_grammar(preset.side)
        self.peak = Peak(device)

    def rows(self, engines: Sequence[Engine], progress: Callable[[str, int], Progress]) -> Iterator[Row]:
        """One row per engine, the reference first where it is wanted.

        `progress(engine, tokens)` is called when an engine begins and gives what its tokens are reported to.
        """
        reference: float | None = None
        for engine in sorted(engines, key=ENGINES.index):
            answer = self._answerer(engine)
            answer(make_grammar(4), lambda count: None)  # a small picture warms up
            batch = 1 if engine == "reference" else self.batch
            tokens = batch * self.grammar.height * (self.grammar.width + 1)
            told = progress(engine, tokens)
            self._wait()
            self.peak.reset()
            began = time.perf_counter()
            passes = answer(self.grammar, told)
            self._wait()
            seconds = time.perf_counter() - began
            speed = tokens / seconds
            reference = speed if engine == "reference" else reference
            ratio = None if reference is None else speed / reference
            per_pass = (tokens / passes, 1000 * seconds / passes)
            yield Row(engine, batch, tokens, seconds, speed, passes, *per_pass, self.peak.mib(), ratio)

    def _answerer(self, engine: Engine) -> Callable[[Grammar, Progress], int]:
        """What decodes a picture and tells its passes."""
        if engine == "reference":
            model = upstream(self.backbone)

            def loop(grammar: Grammar, told: Progress) -> int:
                prompt = make_prompt(grammar, self.sampling.seed)[0].to(self.device)
                return ReferenceLoop(model, grammar, self.sampling)(prompt, told)[1]

            return loop
        backbone = self.backbone
        if self.sampling.quantize != "none":
            backbone = prepare(copy.deepcopy(backbone), self.sampling)  # the reference keeps its own
        config = replace(self.sampling, engine=engine)

        def answer(grammar: Grammar, told: Progress) -> int:
            prompt, lq_codes_hw = (part.to(self.device) for part in make_prompt(grammar, self.sampling.seed))
            prompts, guesses_Bhw = [prompt] * self.batch, lq_codes_hw.expand(self.batch, -1, -1)
            return decode(backbone, prompts, grammar, config, range(self.batch), guesses_Bhw, told).passes

        return answer

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def random_backbone(preset: Preset, device: torch.device, seed: int) -> NextTokenBackbone:
    """The preset's model with random weights, in its dtype."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(preset.dtype)
    try:
        with device:
            return NextTokenBackbone(preset.backbone, VOCABULARY).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(before)


def bandwidth(device: torch.device) -> float:
    """Bytes per second that the device reads and writes in a large copy, the best of ten."""
    source = torch.empty(2**30, dtype=torch.uint8, device=device)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize(device)
        best = min(best, start.elapsed_time(end) / 1000)
    return 2 * source.nbytes / best


def floor_seconds(contest: Contest, bytes_per_second: float) -> float:
    """How long reading weights and cache takes for the plain engine's passes, if nothing else took time.

    Each pass reads the blocks, the image head, and the keys and values of both branches at their mean length.
    """
    backbone, grammar, batch = contest.backbone, contest.grammar, contest.batch
    weights = sum(item.nbytes for item in backbone.blocks.parameters()) + CODES * backbone.head.weight[0].nbytes
    per_position = 2 * backbone.config.layers * backbone.embed.weight[0].nbytes
    prompt = len(make_prompt(grammar, 0)[0])
    conditional, bare = prompt + grammar.image_length / 2, grammar.image_length / 2
    cache = batch * per_position * (conditional + (bare if contest.sampling.guidance != 1 else 0))
    return grammar.height * grammar.width * (weights + cache) / bytes_per_second


def make_grammar(side: int) -> Grammar:
    """A picture of `side` x `side` codes and no text; which ids stand for what does not matter to speed."""
    code_ids_N = torch.arange(VOCABULARY - CODES, VOCABULARY)
    text_V = torch.zeros(VOCABULARY, dtype=torch.bool)
    return Grammar(side, side, False, [0, 1, 1], 2, 3, text_V, code_ids_N)


def make_prompt(grammar: Grammar, seed: int) -> tuple[Tensor, Tensor]:
    """Ids (T,) of words and an LQ picture, and the picture's codes (h, w)."""
    generator = torch.Generator().manual_seed(seed)
    lq_codes_hw = torch.randint(CODES, (grammar.height, grammar.width), generator=generator)
    words = torch.randint(4, VOCABULARY - CODES, (WORDS,), generator=generator)
    rows = torch.nn.functional.pad(grammar.code_ids_N[lq_codes_hw], (0, 1), value=grammar.newline).flatten()
    block = [torch.tensor(grammar.opening), rows, torch.tensor([grammar.image_end])]
    return torch.cat([words, *block]), lq_codes_hw
