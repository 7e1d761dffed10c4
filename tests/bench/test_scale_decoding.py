"""Decoding by scales is compared like with like, and its least time is that of the reference notes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.bench import scale_decoding
from lit_pure.bench.scale_decoding import SCALE_ENGINES, SCALE_PRESETS, ScaleBenchmark
from lit_pure.bench.scale_roofline import floor_seconds, passes
from lit_pure.config.next_scale import ScaleSamplingConfig, next_scale_size
from lit_pure.models.scales import TEMPLATES

CPU = torch.device("cpu")
NANO = SCALE_PRESETS["nano"]
SMALL = replace(NANO, transformer=replace(NANO.transformer, width=32, layers=2, ffn=64))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_both_ways_draw_the_same_bits_and_their_figures_agree(guidance: float) -> None:
    contest = ScaleBenchmark(SMALL, CPU, ScaleSamplingConfig(guidance=[guidance]), batch=2)
    torch.nn.init.normal_(contest.transformer.head.out.weight, std=0.5)  # far from one half
    turns: list[int] = []
    loop, merged = contest.run(SCALE_ENGINES, 2, lambda name, total: turns.append)
    assert (loop.engine, merged.engine, len(turns)) == ("loop", "merged", 4)
    assert (loop.passes, merged.passes) == (8, 4) and loop.tokens == merged.tokens == 2 * (36 + 64 + 144 + 256)
    assert loop.ratio == 1 and merged.same_bits == 1
    assert merged.lowest is not None and merged.ratio is not None and merged.highest is not None
    assert merged.lowest <= merged.ratio <= merged.highest
    assert merged.tokens_per_second == pytest.approx(merged.tokens / merged.seconds)
    assert merged.ms_per_pass * merged.passes == pytest.approx(1000 * merged.seconds)


def test_one_way_alone_has_no_ratio() -> None:
    (row,) = ScaleBenchmark(SMALL, CPU, ScaleSamplingConfig(), 1).run(["merged"], 1, lambda *_: lambda count: None)
    assert row.ratio is row.same_bits is row.ratio_of_processor_time is None and row.tokens == 500


@pytest.mark.parametrize(
    ("preset", "length", "known"),
    [("nano", 530, 30), ("nano-512", 2521, 521), ("nano-1024", 10521, 521), ("2b", 10521, 521)],
)
def test_presets_have_the_published_lengths(preset: str, length: int, known: int) -> None:
    schedule = SCALE_PRESETS[preset].schedule
    sizes = [rows * columns for rows, columns in schedule.grids]
    assert (sum(sizes), sum(sizes[: schedule.known])) == (length, known)
    assert SCALE_PRESETS[preset].transformer.bits == SCALE_PRESETS[preset].tokenizer.token_bits


@pytest.mark.parametrize(
    ("size", "budget", "teraflops"),
    [("8b", "1M", 191.5), ("8b", "0.25M", 38.9), ("2b", "1M", 57.9), ("2b", "0.25M", 10.7)],
)
def test_the_arithmetic_is_that_of_the_reference_notes(size: str, budget: str, teraflops: float) -> None:
    """There the caption's keys and values are counted once, and masked pairs not at all."""
    made = passes(next_scale_size(size), TEMPLATES[1.0].schedule(budget), 7, 110, itemsize=2)
    assert sum(one.flops for one in made) / 1e12 == pytest.approx(teraflops, rel=0.03)


@pytest.mark.parametrize(("merged", "count", "seconds"), [(False, 13, (0.647, 0.209)), (True, 6, (0.611, 0.193))])
def test_the_least_time_is_that_of_the_reference_notes(merged: bool, count: int, seconds: tuple[float, float]) -> None:
    """8B at 1024 on an A800 and an H200: 312 and 989 TFLOP/s, 2.04 and 4.8 TB/s."""
    made = passes(next_scale_size("8b"), TEMPLATES[1.0].schedule("1M"), 7, 110, 2, merged=merged)
    found = (floor_seconds(made, 312e12, 2.04e12), floor_seconds(made, 989e12, 4.8e12))
    assert len(made) == count and found == pytest.approx(seconds, rel=0.02)


def test_more_pictures_need_more_arithmetic_but_no_more_weights() -> None:
    one, four = (
        passes(next_scale_size("2b"), TEMPLATES[1.0].schedule("1M"), 7, 110, 2, pictures=count) for count in (1, 4)
    )
    assert [each.flops for each in four] == [4 * each.flops for each in one]
    assert all(alone.read < together.read < 4 * alone.read for alone, together in zip(one, four, strict=True))


def test_bench_decode_of_nsarm_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(scale_decoding.SCALE_PRESETS, "nano", SMALL)
    assert main(["bench", "decode", "--family", "nsarm", "--rounds", "1", "--json", str(tmp_path / "o.json")]) == 0
    written = json.loads((tmp_path / "o.json").read_text())
    assert [row["engine"] for row in written["rows"]] == ["loop", "merged"]
    assert written["family"] == "nsarm" and written["rows"][1]["same_bits"] == 1
    assert "ratio_of_processor_time" in capsys.readouterr().out


def test_both_ways_decode_with_weights_in_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the preset 2b has them, which needs a GPU; sums of codes stay in float32."""
    monkeypatch.setitem(scale_decoding.SCALE_PRESETS, "nano", replace(SMALL, dtype=torch.bfloat16))
    assert main(["bench", "decode", "--family", "nsarm", "--rounds", "1", "--json", str(tmp_path / "o.json")]) == 0
    assert [row["engine"] for row in json.loads((tmp_path / "o.json").read_text())["rows"]] == ["loop", "merged"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--preset", "7b"], "not of family nsarm"),
        (["--engines", "jacobi"], "nsarm has loop, merged"),
        (["--window", "4"], "--window is for family pure"),
        (["--quantize", "int8"], "--quantize is for family pure"),
        (["--rounds", "0"], "--rounds 0"),
        (["--preset", "2b"], "CUDA"),
        (["--family", "pure", "--preset", "nano"], "not of family pure"),
        (["--family", "pure", "--rounds", "2"], "--family nsarm"),
    ],
)
def test_mistakes_in_the_flags_are_refused_at_once(
    flags: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "2b" in flags and torch.cuda.is_available():
        pytest.skip("here the preset runs")
    assert main(["bench", "decode", "--family", "nsarm", *flags]) == 2
    assert named in capsys.readouterr().err
