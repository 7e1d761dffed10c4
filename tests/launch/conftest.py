"""A working directory with small experiments, and a cluster that is only pretended."""

import os
from pathlib import Path

import pytest

from lit_pure.config.compose import compose, save
from lit_pure.files.atomic import write_json
from lit_pure.runs.folder import ROOT, Run, versions
from tests.launch import cluster

PROGRAM = """
import json, os, signal, sys
from pathlib import Path

name = sys.argv[2]
folder = Path("seen") / name
folder.mkdir(parents=True, exist_ok=True)
rank, count = int(os.environ.get("SLURM_PROCID", "0")), os.environ.get("SLURM_RESTART_COUNT", "0")
kept = {key: value for key, value in os.environ.items() if key.startswith("SLURM_")}
handled = {number: str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
seen = {"argv": sys.argv[1:], "env": kept, "handled": handled, "pid": os.getpid()}
(folder / f"{rank}.{count}").write_text(json.dumps(seen))
print("said by", name, flush=True)
"""
"""Stands for `lit_pure` where a test is about how it is started: `python -m` finds it in the working directory."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with experiments: `guide/{none,full}`, `grid` and more, built on `tok` and `est`; no runs."""
    files = {
        "tok": "family: tokenizer\nneeds: {}\n",
        "est": "family: dem\n",
        "base": "vocabulary: {path: data/vocabulary/nano.json}\nneeds: {tokenizer: tok, dem: est}\n"
        "data: {num_workers: 3, train: {source: photos}}\n",
        "guide/none": "base: base\nsequence: {guidance_mode: none}\n",
        "guide/full": "base: base\nsequence: {guidance_mode: full}\n",
        "steps/step10": "base: base\ntrainer: {max_steps: 10}\n",
        "steps/step9": "base: base\ntrainer: {max_steps: 9}\n",
        "grid": "base: base\nsweep: {seed: [3, 4], sampling.mu: [4.0]}\n",
        "sizes": "base: base\nsweep: {trainer.devices: [1, 2]}\n",
        "deep/er/one": "base: base\n",
    }
    for name, text in files.items():
        path = tmp_path / "experiments" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a pretended cluster, whose commands are on PATH."""
    folder, commands = tmp_path / "cluster", tmp_path / "commands"
    folder.mkdir()
    commands.mkdir()
    cluster.install(commands)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setenv("CLUSTER", str(folder))
    return folder


@pytest.fixture
def program(place: Path) -> Path:
    """`python -m lit_pure` is PROGRAM; the folder where it writes what it saw."""
    package = place / "lit_pure"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    return place / "seen"


def finish(name: str, *overrides: str, needs: dict[str, str] | None = None) -> Run:
    """A finished run of an experiment, as far as its settings and what it was built on."""
    experiment = compose(name, overrides)
    folder = ROOT / name / f"version_{len(versions(name))}"
    folder.mkdir(parents=True)
    save(experiment, folder / "config.yaml")
    write_json(folder / "provenance.json", {"needs": needs or {}})
    write_json(folder / "summary.json", {"steps": 1, "test/demo/psnr": 20.0})
    return Run(folder)
