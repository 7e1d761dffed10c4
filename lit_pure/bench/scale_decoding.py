"""`bench decode --family nsarm`: two ways to decode the same scales with the same weights, side by side in one run.

Knows presets, what is timed (from the encoded caption to the last sum of codes; the prefix is given), and how the ways
take turns. Weights are random: speed does not depend on them. The time that a device would need at best is
`scale_roofline.py`'s. Prints nothing.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lit_pure.bench.memory import Peak
from lit_pure.bench.scale_loop import decode_by_loop
from lit_pure.config.bit_tokenizer import BitTokenizerConfig, nano, published
from lit_pure.config.next_scale import NextScaleConfig, ScaleSamplingConfig, next_scale_size
from lit_pure.families.nsarm.bits import BitNoise
from lit_pure.families.nsarm.prefix import TokenCodes
from lit_pure.families.nsarm.scales import DecodedScales, decode_scales
from lit_pure.families.nsarm.schedule import Schedule
from lit_pure.models.next_scale import NextScaleTransformer
from lit_pure.models.packed_text import PackedText
from lit_pure.models.scales import TEMPLATES, Grid, fitting_grids, latent_grids

ScaleEngine = Literal["loop", "merged"]
SCALE_ENGINES: tuple[ScaleEngine, ...] = ("loop", "merged")
SMALL = 3
"""Scales of the picture that warms up."""


@dataclass(frozen=True)
class ScalePreset:
    """A size of model and picture."""

    transformer: NextScaleConfig
    tokenizer: BitTokenizerConfig
    schedule: Schedule
    words: int
    """Tokens of the caption."""
    dtype: torch.dtype = torch.float32


def _preset(size: str, tokenizer: BitTokenizerConfig, grids: Sequence[Grid], known: int, words: int) -> ScalePreset:
    """The frame is that of the tokenizer's largest square."""
    cells, frame = latent_grids(grids, tokenizer.patch), tokenizer.sides[-1]
    schedule = Schedule(tuple(grids), tuple(cells), (frame, frame), known, cells[known - 1][0] * tokenizer.downsample)
    dtype = torch.bfloat16 if size == "2b" else torch.float32
    return ScalePreset(next_scale_size(size), tokenizer, schedule, words, dtype)


def _presets() -> dict[str, ScalePreset]:
    small, large, square = nano(), published("d32"), TEMPLATES[1.0]
    wider = replace(small, sides=large.sides)
    return {
        "nano": _preset("nano", small, fitting_grids(small.sides, (16, 16)), known=4, words=12),
        "nano-512": _preset("nano", wider, square.schedule("0.25M"), known=7, words=12),
        "nano-1024": _preset("nano", wider, square.schedule("1M"), known=7, words=12),
        "2b": _preset("2b", large, square.schedule("1M"), known=7, words=110),
    }


SCALE_PRESETS = _presets()
"""Nano on its own schedule, its weights on those of 512 px and 1024 px pictures, and Infinity-2B at 1024 px."""


@dataclass(frozen=True)
class ScaleEngineResult:
    """The figures of one way; medians of the rounds."""

    engine: str
    batch: int
    tokens: int
    """Drawn, of all pictures."""
    seconds: float
    tokens_per_second: float
    passes: int
    tokens_per_pass: float
    ms_per_pass: float
    peak_mib: float | None
    ratio: float | None = None
    """Seconds of the loop over this way's, of the same round."""
    lowest: float | None = None
    highest: float | None = None
    """Ratios of single rounds."""
    ratio_of_processor_time: float | None = None
    """The same in processor seconds, on a CPU: what other work on the machine changes least."""
    same_bits: float | None = None
    """Share of drawn bits that are those of the loop; in bfloat16 a rounding may turn one, and others follow it."""


@dataclass(frozen=True)
class _Turn:
    decoded: DecodedScales
    seconds: float
    processor: float
    peak: float | None


class ScaleBenchmark:
    """A random model, a caption and a prefix, from which each way decodes."""

    def __init__(self, preset: ScalePreset, device: torch.device, sampling: ScaleSamplingConfig, batch: int) -> None:
        """`batch`: pictures at the same time, in both ways."""
        self.preset, self.device, self.sampling, self.batch = preset, device, sampling, batch
        self.transformer = random_transformer(preset, device, sampling.seed)
        self.peak = Peak(device)
        generator = torch.Generator().manual_seed(sampling.seed)
        captions = torch.randn(batch, preset.words, preset.transformer.text_width, generator=generator)
        self.text = PackedText.of(list(captions.to(device)))
        known, bits = preset.schedule.grids[: preset.schedule.known], preset.transformer.bits
        drawn = [torch.rand(batch, rows * columns, bits, generator=generator) < 0.5 for rows, columns in known]
        self.known = [bits_BNb.to(device) for bits_BNb in drawn]

    def run(
        self,
        engines: Sequence[ScaleEngine],
        rounds: int,
        progress: Callable[[str, int], Callable[[int], object]],
    ) -> Iterator[ScaleEngineResult]:
        """One result per way, the loop first if it is asked for.

        The ways take turns: `rounds` times each, and in every second round the other one begins.
        `progress(name, rounds)` is called once; it returns what is called after each turn.
        """
        order = sorted(engines, key=SCALE_ENGINES.index)
        for engine in order:
            self._decode(engine, SMALL)
        report = progress("decode", rounds * len(order))
        turns: dict[ScaleEngine, list[_Turn]] = {engine: [] for engine in order}
        for number in range(rounds):
            for engine in order if number % 2 == 0 else order[::-1]:
                turns[engine].append(self._turn(engine))
                report(1)
        for engine in order:
            yield self._result(engine, turns[engine], turns.get("loop"))

    def _turn(self, engine: ScaleEngine) -> _Turn:
        self._wait()
        self.peak.reset()
        began, processor = time.perf_counter(), time.process_time()
        decoded = self._decode(engine)
        self._wait()
        return _Turn(decoded, time.perf_counter() - began, time.process_time() - processor, self.peak.mib())

    def _decode(self, engine: ScaleEngine, scales: int | None = None) -> DecodedScales:
        schedule = self.preset.schedule
        codes = TokenCodes(self.preset.tokenizer, schedule, "trilinear")
        decode = decode_by_loop if engine == "loop" else decode_scales
        return decode(
            self.transformer,
            codes,
            self.text,
            schedule.grids[:scales],
            schedule.frame,
            self.sampling,
            BitNoise(self.sampling.seed, range(self.batch), self.device),
            self.known[: None if scales is None else scales - 1],
        )

    def _result(self, engine: ScaleEngine, turns: list[_Turn], loop: list[_Turn] | None) -> ScaleEngineResult:
        decoded, seconds = turns[0].decoded, statistics.median(turn.seconds for turn in turns)
        tokens, passes = decoded.tokens, decoded.passes
        peaks = [turn.peak for turn in turns if turn.peak is not None]
        figures = (tokens, seconds, tokens / seconds, passes, tokens / passes, 1000 * seconds / passes)
        row = ScaleEngineResult(engine, self.batch, *figures, max(peaks, default=None))
        if loop is None:
            return row
        ratios = [one.seconds / own.seconds for one, own in zip(loop, turns, strict=True)]
        worked = [one.processor / own.processor for one, own in zip(loop, turns, strict=True)]
        known = self.preset.schedule.known
        return replace(
            row,
            ratio=statistics.median(ratios),
            lowest=min(ratios),
            highest=max(ratios),
            ratio_of_processor_time=statistics.median(worked) if self.device.type == "cpu" else None,
            same_bits=_same(decoded.bits[known:], loop[0].decoded.bits[known:]),
        )

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _same(bits: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    pairs = zip(bits, others, strict=True)
    return float(torch.cat([(one == other).flatten() for one, other in pairs]).double().mean())


def random_transformer(preset: ScalePreset, device: torch.device, seed: int) -> NextScaleTransformer:
    """The preset's model with random weights, in its dtype."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(preset.dtype)
    try:
        with device:
            return NextScaleTransformer(preset.transformer).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(before)
