"""`bench decode --family nsarm`: decoding by scales, beside the loop that one would write. Knows flags and figures."""

import argparse
from typing import Any

from lit_pure.commands.figures import chosen_device, progress, show, where_measured, write
from lit_pure.commands.paths import require_writable_files
from lit_pure.config.compose import ConfigError

PRESETS = ("nano", "nano-512", "nano-1024", "2b")
ENGINES = ("loop", "merged")
ROUNDS = 5


def decode_command(arguments: argparse.Namespace) -> int:
    """Compare two ways to decode with the same random weights: a loop by scale, and our merged prefill."""
    require_writable_files({"--json": arguments.json})
    preset, engines, rounds = arguments.preset or PRESETS[0], arguments.engines or list(ENGINES), arguments.rounds
    rounds = ROUNDS if rounds is None else rounds
    if preset not in PRESETS:
        raise ConfigError(f"--preset {preset} is not of family nsarm; choose from {', '.join(PRESETS)}")
    if unknown := sorted(set(engines) - set(ENGINES)):
        raise ConfigError(f"--engines: no such engine: {', '.join(unknown)}; nsarm has {', '.join(ENGINES)}")
    if given := [flag for flag in ("window", "quantize") if getattr(arguments, flag) is not None]:
        raise ConfigError(f"--{given[0]} is for family pure; leave it out")
    if arguments.batch < 1 or rounds < 1:
        raise ConfigError(f"--batch {arguments.batch} --rounds {rounds}: give 1 or more of each")
    where = chosen_device(arguments.threads)
    if preset == "2b" and where.type != "cuda":
        raise ConfigError("--preset 2b needs a CUDA device with 16 GB; on a CPU, use --preset nano or nano-1024")
    from lit_pure.bench import scale_decoding
    from lit_pure.config.next_scale import ScaleSamplingConfig

    contest = scale_decoding.ScaleBenchmark(
        scale_decoding.SCALE_PRESETS[preset], where, ScaleSamplingConfig(), arguments.batch
    )

    def turns(name: str, total: int) -> Any:
        return progress(name, total, unit=" turns")

    rows = [vars(row) for row in contest.run(engines, rounds, turns)]
    show(rows)
    report: dict[str, Any] = {"family": "nsarm", "preset": preset, "rounds": rounds, **where_measured(where)}
    report["rows"] = rows
    if where.type == "cuda":
        report |= _roofline(contest, rows)
    write(arguments.json, report)
    return 0


def _roofline(contest: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The device's speeds and the least time of each way; printed, too."""
    from lit_pure.bench.decoding import bandwidth
    from lit_pure.bench.scale_roofline import floor_seconds, passes
    from lit_pure.lit.callbacks.flops import device_peak

    preset, device = contest.preset, contest.device
    found: dict[str, Any] = {"bandwidth": bandwidth(device), "peak_flops": device_peak(device, preset.dtype)}
    print(f"bandwidth {found['bandwidth'] / 1e12:.2f} TB/s; peak {found['peak_flops'] / 1e12:.0f} TFLOP/s (table)")
    if not found["peak_flops"]:
        return found
    schedule = preset.schedule
    sizes = (preset.transformer, schedule.grids, schedule.known, preset.words, preset.dtype.itemsize, contest.batch)
    for row in rows:
        made = passes(*sizes, merged=row["engine"] == "merged")
        floor = floor_seconds(made, found["peak_flops"], found["bandwidth"])
        found[f"floor_seconds_{row['engine']}"] = floor
        share = 100 * floor / row["seconds"]
        print(f"{row['engine']}: {len(made)} passes take {floor:.3f} s at least; it reaches {share:.0f} % of that")
    return found
