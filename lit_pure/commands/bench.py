"""`bench`: speeds, measured side by side in one run, as ratios. Knows flags, and which figures a comparison has.

`bench restore`, which compares with published figures, is in `bench_restore.py`, `bench train` in `bench_train.py`,
decoding by scales in `bench_scales.py`, all that a GPU shows in `bench_gpu.py`.
"""

import argparse
import re
from functools import partial
from pathlib import Path
from typing import Any

from lit_pure.commands import bench_gpu, bench_restore, bench_scales, bench_train
from lit_pure.commands.figures import chosen_device, progress, show, where_measured, write
from lit_pure.commands.parsing import Subparsers, add, comma_list
from lit_pure.commands.paths import find_photographs, require_pictures, require_writable_files
from lit_pure.config.compose import ConfigError
from lit_pure.runs import folder as runs

PRESETS = ("tiny", "tiny-512", "7b")
ENGINES = ("reference", "plain", "jacobi")
WINDOWS = range(2, 257)
WINDOW = 16
PHOTOS = Path("data/photos")
LEAST_SIDE = 96
"""Of crops for `bench degrade`: basicsr mirrors no image of 10 px or fewer, and 0.15 of this may be left [px]."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add `bench` with its sub-commands."""
    words = "Measure speeds."
    what = commands.add_parser("bench", help=words, description=words).add_subparsers(required=True, metavar="WHAT")
    decode = add(what, "decode", decode_command)
    decode.add_argument("--family", choices=DECODE, default="pure", help="whose decoding (default: pure)")
    decode.add_argument(
        "--preset",
        choices=(*PRESETS, *bench_scales.PRESETS),
        help=f"sizes of model and picture: {', '.join(PRESETS)} (default: tiny); of nsarm "
        f"{', '.join(bench_scales.PRESETS)} (default: nano)",
    )
    decode.add_argument("--engines", type=comma_list, help="comma-separated (default: all of the family)")
    decode.add_argument("--batch", type=int, default=1, help="pictures at once, but for reference (default: 1)")
    decode.add_argument("--window", type=int, help=f"window of jacobi (default: {WINDOW})")
    decode.add_argument("--quantize", choices=("none", "int8", "fp8"), help="dtype of weights, for plain and jacobi")
    decode.add_argument(
        "--rounds", type=int, help=f"of nsarm: rounds; the median counts (default: {bench_scales.ROUNDS})"
    )
    decode.add_argument("--run", help="trained weights of family pure instead of a preset; whole answers, with text")
    decode.add_argument(
        "--photos", nargs="+", type=Path, default=[PHOTOS], help=f"of --run, low-quality ones (default: {PHOTOS})"
    )
    drafts = add(what, "drafts", drafts_command)
    drafts.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="low-quality photographs or folders")
    drafts.add_argument("--run", default="demo", help="whose weights to use (default: demo)")
    drafts.add_argument("--windows", default="4,8,16,32", help="comma-separated (default: 4,8,16,32)")
    degrade = add(what, "degrade", degrade_command)
    degrade.add_argument("--sizes", default="512x4,128x16", help="side of crops x batch (default: 512x4,128x16)")
    degrade.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs (default: those in scikit-image)")
    degrade.add_argument("--ours", action="store_true", help="only ours, on the GPU if there is one: images a second")
    degrade.add_argument("--rounds", type=int, default=5, help="rounds; the median counts (default: 5)")
    degrade.add_argument("--batches", type=int, default=5, help="batches in a round (default: 5)")
    restore = bench_restore.arguments(what)
    train = bench_train.arguments(what)
    bench_gpu.arguments(what)
    for command in (decode, drafts, degrade, restore, train):
        command.add_argument("--threads", type=int, default=0, help="threads on a CPU (default: torch's choice)")
    for command in (decode, drafts, degrade, train):
        command.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")


def decode_command(arguments: argparse.Namespace) -> int:
    """Compare ways to decode with the same weights: a plain loop and our engines, or with --run our engines alone."""
    return DECODE[arguments.family](arguments) if arguments.run is None else _decode_trained(arguments)


def _decode_trained(arguments: argparse.Namespace) -> int:
    """PURE's two engines on trained weights."""
    flags = {"engines": None, "preset": None, "quantize": None, "rounds": None, "batch": 1, "family": "pure"}
    if given := [flag for flag, default in flags.items() if getattr(arguments, flag) != default]:
        raise ConfigError(f"--{given[0]} does not go with --run, which compares plain and jacobi; leave it out")
    window = WINDOW if arguments.window is None else arguments.window
    if window not in WINDOWS:
        raise ConfigError(f"--window {window}: give 2 to 256")
    return _compare_drafts(arguments, [window], ["lq"])


def _decode_tokens(arguments: argparse.Namespace) -> int:
    """PURE's: a plain transformers loop and our two engines."""
    require_writable_files({"--json": arguments.json})
    preset, engines = arguments.preset or PRESETS[0], arguments.engines or list(ENGINES)
    window = WINDOW if arguments.window is None else arguments.window
    if preset not in PRESETS:
        raise ConfigError(f"--preset {preset} is not of family pure; choose from {', '.join(PRESETS)}")
    if unknown := sorted(set(engines) - set(ENGINES)):
        raise ConfigError(f"--engines: no such engine: {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    if arguments.rounds is not None:
        raise ConfigError("--rounds is for --family nsarm; pure decodes once")
    if arguments.batch < 1 or window not in WINDOWS:
        raise ConfigError(f"--batch {arguments.batch} --window {window}: give 1 or more, and 2 to 256")
    where = chosen_device(arguments.threads)
    if preset == "7b" and where.type != "cuda":
        raise ConfigError("--preset 7b needs a CUDA device with 40 GB; on a CPU, use --preset tiny or tiny-512")
    from lit_pure.bench import decoding
    from lit_pure.config.pure import SamplingConfig

    quantize: Any = arguments.quantize or "none"
    sampling = SamplingConfig(window=window, quantize=quantize)
    contest = decoding.EngineBenchmark(decoding.PRESETS[preset], where, sampling, arguments.batch)
    rows = [vars(row) for row in contest.run(engines, progress)]
    show(rows)
    report: dict[str, Any] = {"preset": preset, **where_measured(where), "rows": rows}
    if where.type == "cuda":
        report["bandwidth"] = decoding.bandwidth(where)
        report["floor_seconds"] = floor = decoding.floor_seconds(contest, report["bandwidth"])
        print(f"bandwidth {report['bandwidth'] / 1e12:.2f} TB/s; just reading weights and cache takes {floor:.2f} s")
        # That time is one of unrounded weights and of one pass per code.
        for row in rows if quantize == "none" else []:
            if row["engine"] == "plain":
                print(f"plain reaches {100 * floor / row['seconds']:.0f} % of that")
    write(arguments.json, report)
    return 0


DECODE = {"pure": _decode_tokens, "nsarm": bench_scales.decode_command}
"""What `bench decode` does for each family that decodes."""


def drafts_command(arguments: argparse.Namespace) -> int:
    """Compare initial drafts and windows of the Jacobi engine on trained weights."""
    windows = [int(item) if item.isdecimal() else 0 for item in arguments.windows.split(",")]
    if not set(windows) <= set(WINDOWS):
        raise ConfigError(f"--windows {arguments.windows}: expected numbers from 2 to 256, for example 4,8,16,32")
    return _compare_drafts(arguments, windows, ["lq", "left", "random"])


def _compare_drafts(arguments: argparse.Namespace, windows: list[int], drafts: list[Any]) -> int:
    """The figures of a run for every first draft and window, after those of the plain engine."""
    require_writable_files({"--json": arguments.json})
    paths = find_photographs(arguments.photos)
    run = runs.require(arguments.run)
    where = chosen_device(arguments.threads)
    from lit_pure.bench.drafts import compare
    from lit_pure.families.pure.restorer import Restorer
    from lit_pure.families.table import restorer_of

    restorer = restorer_of(run)
    if not isinstance(restorer, Restorer):
        raise ConfigError(f"{run.label} has no Jacobi engine; name a run of family pure")
    rows = [vars(row) for row in compare(restorer.to(where), paths, windows, progress, drafts)]
    show(rows)
    write(arguments.json, {"run": run.label, "photos": len(paths), **where_measured(where), "rows": rows})
    return 0


def degrade_command(arguments: argparse.Namespace) -> int:
    """Compare our degradation with the published one, built from basicsr's functions, on a CPU; or time ours alone."""
    sizes = _sizes(arguments.sizes)
    if min(arguments.rounds, arguments.batches) < 1:
        raise ConfigError(f"--rounds {arguments.rounds} --batches {arguments.batches}: give 1 or more of each")
    if arguments.threads < 0:
        raise ConfigError(f"--threads {arguments.threads}: give 1 or more, or 0 for torch's choice")
    require_writable_files({"--json": arguments.json})
    require_pictures("--photos", arguments.photos)
    import torch

    from lit_pure.bench.degrading import compare, ours_alone

    where = chosen_device(arguments.threads) if arguments.ours else torch.device("cpu")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    source = str(arguments.photos or "skimage")
    asked = source, sizes, arguments.rounds, arguments.batches, partial(progress, unit=" batches")
    rows = [vars(row) for row in (ours_alone(*asked, where) if arguments.ours else compare(*asked))]
    show(rows)
    report = {"photos": source, "rounds": arguments.rounds, "batches": arguments.batches}
    report |= {**where_measured(where), "rows": rows}
    write(arguments.json, report)
    return 0


def _sizes(text: str) -> list[tuple[int, int]]:
    """`512x4,128x16` is [(512, 4), (128, 16)]."""
    found = [re.fullmatch(r"(\d+)x(\d+)", item) for item in text.split(",")]
    sizes = [(int(match[1]), int(match[2])) for match in found if match]
    if len(sizes) < len(found) or any(side % 4 or side < LEAST_SIDE or batch < 1 for side, batch in sizes):
        remedy = f"the side a multiple of 4 from {LEAST_SIDE}, for example 512x4,128x16"
        raise ConfigError(f"--sizes {text}: expected SIDExBATCH, comma-separated, {remedy}")
    return sizes
