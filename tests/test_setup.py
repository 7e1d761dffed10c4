"""The environment that `make setup` makes, and the Makefile itself."""

import configparser
import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lit_pure.config.compose import PROJECT

MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
LEFT_OUT = "requires tb-nightly, which is not installed."
"""All that `pip check` may say, of basicsr: beside tensorboard, tb-nightly stops TensorBoard from starting."""


def installed(distribution: str) -> bool:
    return any(importlib.metadata.distributions(name=distribution))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(arguments, cwd=PROJECT, env=environment, capture_output=True, text=True)


def test_importing_the_package_imports_no_torch():
    done = run(sys.executable, "-c", "import sys, lit_pure; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not installed("basicsr"), reason="basicsr is not installed")
@pytest.mark.skipif(not installed("pip"), reason="pip is not installed")
def test_packages_miss_nothing_but_tb_nightly():
    done = run(sys.executable, "-m", "pip", "--disable-pip-version-check", "check")
    complaints = [line for line in done.stdout.splitlines() if not line.startswith("No broken requirements")]
    version = importlib.metadata.version("basicsr")
    assert complaints == [f"basicsr {version} {LEFT_OUT}"], done.stdout + done.stderr


@pytest.mark.skipif(
    not (Path(sys.prefix) / ".lit_pure_installed").exists(), reason="made by other means than the Makefile"
)
def test_cv2_is_the_one_that_needs_no_display():
    """opencv-python and opencv-python-headless share a folder; the first does not import where libGL is missing."""
    done = run(sys.executable, "-c", "import sys, cv2.version; sys.exit(not cv2.version.headless)")
    assert done.returncode == 0, done.stderr


def test_constraints_are_exact_and_meet_every_floor():
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    required = (
        setup["options"]["install_requires"]
        + extras["dev"]
        + extras["notebooks"]
        + extras["docs"]
        + extras["baselines"]
        + extras["app"]
    )
    for line in filter(None, required.splitlines()):
        floor = Requirement(line)
        if floor.name == "lit_pure":  # an extra that names another one
            continue
        assert floor.name.lower() in pins, f"{line}: pin it in constraints.txt"
        assert pins[floor.name.lower()] in floor.specifier, f"{line}: constraints.txt pins {pins[floor.name.lower()]}"


def test_tensorboard_starts_and_answers(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    (tmp_path / "runs").mkdir()
    board = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path / "runs")]
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # localhost is never behind a proxy
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*board, "--host", "localhost", "--port", str(port)], stdout=log, stderr=log)
    try:
        status, deadline = 0, time.monotonic() + 90
        while status == 0 and process.poll() is None and time.monotonic() < deadline:
            try:
                with browser.open(f"http://localhost:{port}/", timeout=10) as answer:
                    status = answer.status
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.2)
        assert status == 200, (tmp_path / "log").read_text()
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMakefile:
    def test_make_help_explains_every_target_and_variable(self):
        targets = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
        assert targets
        text = run("make", "--no-print-directory", "help").stdout
        for name in [*targets[1].split(), *re.findall(r"^([A-Z]+) \??=", MAKEFILE, re.MULTILINE)]:
            assert re.search(rf"^  {name} +\S", text, re.MULTILINE), f"make help does not explain {name}"

    @pytest.mark.parametrize(("target", "missing"), [("exp", "NAME"), ("sweep", "NAME"), ("restore", "PHOTO")])
    def test_make_refuses_a_target_whose_variable_is_missing(self, target, missing):
        done = run("make", target, "NAME=", "PHOTO=")
        assert done.returncode != 0
        assert f"{missing} is missing; for instance: make {target} {missing}=" in done.stderr

    def test_make_refuses_a_python_that_does_not_exist(self):
        done = run("make", "check", "PYTHON=/no/such/python3", "VENV=")
        assert done.returncode != 0
        assert 'there is no "/no/such/python3"' in done.stderr

    @pytest.mark.parametrize(
        ("venv", "command"),
        [("", f"lit-pure: {sys.executable} -m lit_pure"), (".venv", "lit-pure: .venv/bin/lit-pure ")],
    )
    def test_make_exp_ends_with_where_the_command_is(self, venv, command):
        done = run("make", "--dry-run", "exp", "NAME=demo", f"PYTHON={sys.executable}", f"VENV={venv}")
        assert f"echo '{command}" in done.stdout.splitlines()[-1]

    def test_make_passes_settings_on_word_by_word_and_unexpanded(self):
        echo = "SET=data.test.a.names=[a,b] optim.lr=1e-4 base=*"
        done = run("make", "--dry-run", "exp", "NAME=demo", f"PYTHON={sys.executable}", "VENV=", echo)
        assert f'set -f; "{sys.executable}" -m lit_pure run "demo" {echo[4:]}' in done.stdout
