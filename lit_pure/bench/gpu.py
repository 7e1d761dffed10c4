"""Runs the parts of `bench gpu` one after another, and keeps what each has measured as soon as it is there.

Knows processes, limits and two files: `gpu.json`, and `gpu.md` with a table for each part. Each part is a process of
its own, so one that crashes, hangs or fills the memory costs nothing but itself. Knows nothing of what is measured, and
imports no torch.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lit_pure.bench.gpu_parts import Part
from lit_pure.files.atomic import write_json, write_whole

JSON, MARKDOWN = "gpu.json", "gpu.md"
KEPT_LINES = 12
"""Of what a part that failed has said."""
PATIENCE = 10.0
"""How long a part that was asked to stop may take for it [s]."""


@dataclass(frozen=True)
class PartResult:
    """What became of a part."""

    name: str
    command: str
    outcome: str
    """`done`; or why there are no figures: `failed (exit 1)`, `over its limit of 60 s`, `stopped`, `not begun`."""
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    """Its last lines, unless it is done and has figures."""


def run_parts(
    parts: Sequence[Part], out: Path, where: Mapping[str, Any], report: Callable[[PartResult], None]
) -> list[PartResult]:
    """Run all parts, in order; both files in `out` are written anew after each.

    Args:
        parts: what to run.
        out: a folder, which is made.
        where: the device, for the head of both files.
        report: is told of each part that has ended.

    An exception, such as that of a signal, ends the part that is running; what was measured before it is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    results: list[PartResult] = []
    for part in parts:
        try:
            results.append(_run(part, out))
        except BaseException:
            results.append(_not_measured(part, "stopped"))
            _keep(out, where, [*results, *(_not_measured(rest, "not begun") for rest in parts[len(results) :])])
            raise
        _keep(out, where, results)
        report(results[-1])
    return results


def _run(part: Part, out: Path) -> PartResult:
    figures_path = out / f"part_{os.getpid()}.json"
    command, began, over = part.with_output(str(figures_path)), time.monotonic(), False
    # A group of its own: a part's own processes end with it.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=part.limit)
        except subprocess.TimeoutExpired:
            over = True
            said = _end(process)
        except BaseException:
            _end(process)
            figures_path.unlink(missing_ok=True)
            raise
    seconds = time.monotonic() - began
    figures = json.loads(figures_path.read_text(encoding="utf-8")) if figures_path.exists() else {}
    figures_path.unlink(missing_ok=True)
    done = process.returncode == 0 and not over
    outcome = "done" if done else f"failed (exit {process.returncode})"
    if over:
        outcome = f"over its limit of {part.limit:g} s"
    lines = [] if done and part.writes else [line for line in said.splitlines() if line.strip()][-KEPT_LINES:]
    return PartResult(part.name, " ".join(part.command), outcome, seconds, figures, lines)


def _end(process: "subprocess.Popen[str]") -> str:
    """End a part with all that it started; what it has said."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            return process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    return process.communicate()[0]


def _not_measured(part: Part, outcome: str) -> PartResult:
    return PartResult(part.name, " ".join(part.command), outcome, 0.0)


def _keep(out: Path, where: Mapping[str, Any], results: Sequence[PartResult]) -> None:
    write_json(out / JSON, {**where, "parts": [asdict(result) for result in results]})
    write_whole(out / MARKDOWN, markdown(where, results))


def markdown(where: Mapping[str, Any], results: Sequence[PartResult]) -> str:
    """A page: what became of each part, then a table for each that has figures."""
    lines = [f"# `lit-pure bench gpu` on {where['device']}", ""]
    lines += [f"*{where['date']}*, torch {where['torch']}.", "", "| part | seconds | outcome |", "|---|---|---|"]
    lines += [f"| {one.name} | {one.seconds:.0f} | {one.outcome} |" for one in results]
    for one in results:
        if one.outcome != "done" and one.said:
            lines += ["", f"## {one.name}: {one.outcome}", "", "```", *one.said, "```"]
        elif one.figures:
            lines += ["", f"## {one.name}", "", f"`{one.command}`", "", *_table(one.figures)]
        elif one.said:
            lines += ["", f"## {one.name}", "", one.said[-1]]
    return "\n".join(lines) + "\n"


def _table(figures: Mapping[str, Any]) -> list[str]:
    """The rows that a command has measured, then what else is a single number or word."""
    rows = figures.get("rows") or []
    alone = {key: value for key, value in figures.items() if isinstance(value, int | float | str)}
    lines = []
    if rows:
        lines += [f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0])]
        lines += [f"| {' | '.join(_shown(value) for value in row.values())} |" for row in rows] + [""]
    return [*lines, ", ".join(f"{key}: {_shown(value)}" for key, value in alone.items())]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
