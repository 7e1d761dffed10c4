"""`bench decode`: three ways to decode the same picture with the same weights, side by side in one run.

Knows presets, and what is timed (one answer from prompt to last code, without text). Weights are random, but the head
is scaled so that a code has an entropy like those of trained models: near-uniform logits, as random weights have them,
leave the draw to the noise, which flatters `jacobi`. `drafts.py` measures trained weights (`bench decode --run`).
Prints nothing.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lit_pure.bench.memory import Peak
from lit_pure.bench.reference import ReferenceLoop, make_chameleon
from lit_pure.config.pure import BackboneConfig, SamplingConfig
from lit_pure.families.pure.sampling.decode import decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import Progress
from lit_pure.models.next_token import INITIAL_STD, NextTokenBackbone
from lit_pure.models.precision import prepare

Engine = Literal["reference", "plain", "jacobi"]
ENGINES: tuple[Engine, ...] = ("reference", "plain", "jacobi")
CODES = 16384
WORDS = 85
"""Ids of the prompt besides the picture: instruction and text."""


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
SPREAD = 4.6
"""Standard deviation of the logits before guidance; at guidance 0.8 codes of `tiny` then have 3.95 nats, measured."""


@dataclass(frozen=True)
class EngineResult:
    """The figures of one engine."""

    engine: str
    batch: int
    tokens: int
    """Of the pictures, newlines included."""
    seconds: float
    tokens_per_second: float
    passes: int
    """Forward passes of the backbone without that of the prompt; a batched one counts once."""
    tokens_per_pass: float
    ms_per_pass: float
    peak_mib: float | None
    nats: float | None = None
    """Mean entropy of what codes are drawn from; the reference does not tell."""
    ratio: float | None = None
    """Tokens per second over those of the reference."""


class EngineBenchmark:
    """A random model and a prompt, which each engine answers."""

    def __init__(self, preset: Preset, device: torch.device, sampling: SamplingConfig, batch: int) -> None:
        """`batch`: pictures at the same time for our engines; the reference makes one."""
        self.preset, self.device, self.sampling, self.batch = preset, device, sampling, batch
        self.backbone = random_backbone(preset, device, sampling.seed)
        self.grammar = make_grammar(preset.side)
        self.peak = Peak(device)

    def run(self, engines: Sequence[Engine], progress: Callable[[str, int], Progress]) -> Iterator[EngineResult]:
        """One result per engine, the reference first if it is asked for.

        `progress(engine, tokens)` is called when an engine starts; it returns what is called with the new tokens.
        """
        reference: float | None = None
        for engine in sorted(engines, key=ENGINES.index):
            answer = self._decoder(engine)
            answer(make_grammar(4), lambda count: None)  # a small picture for warm-up
            batch = 1 if engine == "reference" else self.batch
            tokens = batch * self.grammar.height * (self.grammar.width + 1)
            report = progress(engine, tokens)
            self._wait()
            self.peak.reset()
            began = time.perf_counter()
            passes, nats = answer(self.grammar, report)
            self._wait()
            seconds = time.perf_counter() - began
            speed = tokens / seconds
            reference = speed if engine == "reference" else reference
            ratio = None if reference is None else speed / reference
            per_pass = (tokens / passes, 1000 * seconds / passes)
            yield EngineResult(engine, batch, tokens, seconds, speed, passes, *per_pass, self.peak.mib(), nats, ratio)

    def _decoder(self, engine: Engine) -> Callable[[Grammar, Progress], tuple[int, float | None]]:
        """A function that decodes a picture and returns the number of passes and the mean entropy, where known."""
        if engine == "reference":
            model = make_chameleon(self.backbone)

            def loop(grammar: Grammar, report: Progress) -> tuple[int, float | None]:
                prompt = make_prompt(grammar, self.sampling.seed)[0].to(self.device)
                return ReferenceLoop(model, grammar, self.sampling)(prompt, report)[1], None

            return loop
        backbone = self.backbone
        if self.sampling.quantize != "none":
            backbone = prepare(copy.deepcopy(backbone), self.sampling)  # the reference keeps the original
        config = replace(self.sampling, engine=engine)

        def answer(grammar: Grammar, report: Progress) -> tuple[int, float | None]:
            prompt, lq_codes_hw = (part.to(self.device) for part in make_prompt(grammar, self.sampling.seed))
            prompts, drafts_Bhw = [prompt] * self.batch, lq_codes_hw.expand(self.batch, -1, -1)
            decoded = decode(backbone, prompts, grammar, config, range(self.batch), drafts_Bhw, report)
            return decoded.passes, float(decoded.entropy_Bhw.mean())

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
            backbone = NextTokenBackbone(preset.backbone, VOCABULARY).requires_grad_(False).eval()
        backbone.head.weight *= SPREAD / (INITIAL_STD * preset.backbone.width**0.5)  # hidden states have length sqrt(D)
        return backbone
    finally:
        torch.set_default_dtype(before)


def bandwidth(device: torch.device) -> float:
    """Bytes per second that the device reads and writes in a large copy; the best of ten."""
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


def floor_seconds(benchmark: EngineBenchmark, bytes_per_second: float) -> float:
    """The time that the plain engine's passes need to read weights and cache [s], as if all else took no time.

    Each pass reads the blocks, the image head, and the keys and values of both branches at their mean length.
    """
    backbone, grammar, batch = benchmark.backbone, benchmark.grammar, benchmark.batch
    weights = sum(item.nbytes for item in backbone.blocks.parameters()) + CODES * backbone.head.weight[0].nbytes
    per_position = 2 * backbone.config.layers * backbone.embed.weight[0].nbytes
    prompt = len(make_prompt(grammar, 0)[0])
    conditional, bare = prompt + grammar.image_length / 2, grammar.image_length / 2
    cache = batch * per_position * (conditional + (bare if benchmark.sampling.guidance != 1 else 0))
    return grammar.height * grammar.width * (weights + cache) / bytes_per_second


def make_grammar(side: int) -> Grammar:
    """A picture of `side` x `side` codes without text; the speed does not depend on the ids."""
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
