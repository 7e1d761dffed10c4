"""`bench gpu`: each part costs only itself, what was measured is kept, and the rehearsal writes every table."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lit_pure.__main__ import main
from lit_pure.bench import gpu
from lit_pure.bench.gpu import PartResult, run_parts
from lit_pure.bench.gpu_parts import Part, gpu_parts, tiny_parts

WHERE = {"device": "abacus", "torch": "2", "date": "2026-11-29"}
WRITES = (
    "import sys, json; open(sys.argv[2], 'w').write(json.dumps({'rows': [{'ms': 1.5, 'peak': None}], 'preset': 'x'}))"
)


def part(code: str, limit: float = 30, writes: bool = True, name: str = "it") -> Part:
    return Part(name, (sys.executable, "-c", code), limit, writes)


def run(out: Path, *parts: Part) -> tuple[list[PartResult], dict[str, Any], str]:
    told: list[PartResult] = []
    results = run_parts(parts, out, WHERE, told.append)
    assert told == results
    return results, json.loads((out / gpu.JSON).read_text()), (out / gpu.MARKDOWN).read_text()


def test_figures_become_a_table_and_a_failure_says_why(tmp_path: Path) -> None:
    fails = part("print('before'); raise SystemExit('no such kernel')", name="fails")
    results, kept, page = run(tmp_path, fails, part(WRITES, name="writes"), part("print('7 passed')", writes=False))
    assert [one.outcome for one in results] == ["failed (exit 1)", "done", "done"]
    assert kept["device"] == "abacus" and kept["parts"][1]["figures"]["rows"] == [{"ms": 1.5, "peak": None}]
    assert "no such kernel" in page and "| ms | peak |" in page and "| 1.5 | - |" in page and "7 passed" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == [gpu.JSON, gpu.MARKDOWN]


def test_a_part_that_hangs_is_ended_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PATIENCE", 0.5)
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    starts = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', " + repr(child) + "])"
    starts += "; print(p.pid, flush=True); p.wait()"
    results, _, page = run(tmp_path, part(starts, limit=3), part(WRITES))
    assert [one.outcome for one in results] == ["over its limit of 3 s", "done"] and "over its limit" in page
    pid = int(results[0].said[0])
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("its child lives on")


def test_a_run_that_is_cut_keeps_what_it_had(tmp_path: Path) -> None:
    """By a signal, from outside, as a scheduler sends it."""
    code = (
        "import signal, sys; from pathlib import Path; from lit_pure.runs.stop import stop_at_once;"
        "from lit_pure.bench.gpu import run_parts; from tests.bench.test_gpu import WHERE, WRITES, part\n"
        "parts = [part(WRITES, name='a'), part('import time; time.sleep(60)', name='b'), part(WRITES, name='c')]\n"
        "with stop_at_once():\n"
        "    run_parts(parts, Path(sys.argv[1]), WHERE, lambda one: print(one.name, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "a"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    kept = json.loads((tmp_path / gpu.JSON).read_text())["parts"]
    assert [one["outcome"] for one in kept] == ["done", "stopped", "not begun"] and kept[0]["figures"]["preset"] == "x"
    process.stdout.close()


def test_the_rehearsal_on_a_cpu_runs_every_kind_of_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["bench", "gpu", "--device", "cpu", "--tiny", "--out", str(tmp_path)])
    kept = json.loads((tmp_path / gpu.JSON).read_text())["parts"]
    assert status == 0, capsys.readouterr().out
    assert [one["name"] for one in kept] == [one.name for one in tiny_parts()]
    assert all(one["figures"]["rows"] for one in kept if one["name"] != "tests marked cuda")
    page = (tmp_path / gpu.MARKDOWN).read_text()
    assert page.count("\n## ") == len(kept) and "| tokens_per_second |" in page


def test_all_parts_for_a_gpu_fit_into_nine_minutes_and_are_commands_that_exist() -> None:
    assert sum(one.limit for one in gpu_parts()) <= 9 * 60
    for one in gpu_parts():
        if one.writes:  # parsed up to the refusal for want of a GPU, or --help
            done = subprocess.run([*one.command, "--help"], capture_output=True, text=True, env={**os.environ})
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "named"), [(["--tiny"], "--device cpu and --tiny go together"), (["--device", "cpu"], "go together")]
)
def test_mistakes_are_refused(flags: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gpu", *flags]) == 2
    assert named in capsys.readouterr().err
