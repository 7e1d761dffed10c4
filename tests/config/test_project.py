"""Experiments, data and shipped runs are found from any folder: in the clone, and inside what a wheel installs."""

import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from lit_pure.config import project
from lit_pure.config.compose import ConfigError, compose, degradation, experiment_names
from lit_pure.config.project import INSIDE, PROJECT, command_to_install, command_to_run, locate, names_in
from lit_pure.metrics import protocols
from lit_pure.report import published
from lit_pure.runs import folder as runs
from lit_pure.study.plan import plan_of

LARGEST = 60e6
"""A wheel may have at most this, unpacked [bytes]."""
TABLE = "report --layout table6"


def project_files() -> list[str]:
    """What `setup.py` puts into a wheel."""
    found: list[str] = runpy.run_path(str(PROJECT / "setup.py"))["project_files"]()
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel installs it."""
    pytest.importorskip("setuptools")
    library = tmp_path_factory.mktemp("library")
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(library)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return library


def call(library: Path, arguments: Sequence[str], where: Path) -> subprocess.CompletedProcess[str]:
    """What Python with only the built package makes of its arguments."""
    environment = os.environ | {"PYTHONPATH": str(library)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)


@pytest.mark.shipped
def test_all_that_comes_with_the_project_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "demo" in experiment_names() and compose("demo").name == "demo"
    assert locate("data/vocabulary/nano.json").is_file() and locate("data/photos/chelsea.png").is_file()
    assert degradation("seesr").preset == "seesr" and plan_of("sampling").arms
    assert {"pure", "osediff"} <= set(protocols.names()) and published.load("pure")
    assert runs.require("pure/nano_photo").label == "pure/nano_photo/shipped"


def test_files_of_the_user_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("data/studies/own.yaml")
    own.parent.mkdir(parents=True)
    own.touch()
    assert locate(str(own)) == own and {"own", "sampling"} <= set(names_in("data/studies"))
    assert locate("/no/where.yaml") == Path("/no/where.yaml")


def test_a_package_without_its_files_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.require_project()
    monkeypatch.setattr(project, "PROJECT", tmp_path)
    with pytest.raises(ConfigError, match="pip install FOLDER_OF_THE_CLONE"):
        project.require_project()


def test_messages_name_commands_that_the_user_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_to_run("a/b", "base=demo") == 'make exp NAME=a/b SET="base=demo"'
    assert command_to_install("basicsr") == "make setup"
    monkeypatch.setattr(project, "INSTALLED", True)
    assert command_to_run("demo") == "lit-pure run demo" and command_to_run("a", "b=c") == "lit-pure run a b=c"
    assert command_to_install("basicsr") == "pip install --no-deps --no-build-isolation basicsr"


@pytest.mark.skipif(shutil.which("git") is None or not (PROJECT / ".git").exists(), reason="not a git checkout")
def test_a_wheel_has_each_file_that_is_kept_and_nothing_else() -> None:
    """Photographs, or links to folders of them, lie in data/, too, but are not kept in git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "data", "experiments", "notebooks"]
    kept = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert project_files() == sorted(file for file in kept if file != "data/README.md")


def test_a_wheel_stays_small_and_has_no_links() -> None:
    files = [PROJECT / file for file in project_files()]
    assert sum(file.stat().st_size for file in files) < LARGEST
    assert all(file.resolve() == PROJECT.resolve() / file.relative_to(PROJECT) for file in files)


def test_an_installed_package_finds_its_files_from_any_folder(built: Path, tmp_path: Path) -> None:
    inside = built / INSIDE.relative_to(INSIDE.parents[1])
    assert (
        sorted(path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file()) == project_files()
    )
    code = """
from lit_pure.config.compose import compose
from lit_pure.config.project import INSTALLED, PROJECT, locate
from lit_pure.runs import folder as runs
assert INSTALLED and locate(compose("demo").vocabulary.path).is_file()
assert runs.require("pure/nano").shipped and runs.surroundings()["git"] == {}
print(PROJECT)
"""
    done = call(built, ["-c", code], tmp_path)
    assert done.stdout.strip() == str(inside), done.stderr
    shown = call(built, ["-m", "lit_pure", *TABLE.split()], tmp_path)
    assert shown.returncode == 0 and "PURE" in shown.stdout, shown.stderr
    refused = call(built, ["-m", "lit_pure", "restore", "x.png", "--run", "demo"], tmp_path)
    assert "lit-pure run demo" in refused.stderr and "make" not in refused.stderr.replace("make it with", "")


@pytest.mark.slow
def test_the_wheel_and_what_is_built_from_a_source_distribution_are_the_same(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    code = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"

    def build(kind: str, where: Path) -> Path:
        command = [sys.executable, "-c", code, f"build_{kind}", str(tmp_path)]
        done = subprocess.run(command, cwd=where, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tmp_path / done.stdout.splitlines()[-1]

    clone = tmp_path / "clone"
    for file in ["setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", *project_files()]:
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / file, clone / file)
    shutil.copytree(PROJECT / "lit_pure", clone / "lit_pure", ignore=shutil.ignore_patterns("__pycache__"))
    packed = build("sdist", clone)
    shutil.unpack_archive(packed, tmp_path / "unpacked", filter="data")
    first = set(zipfile.ZipFile(build("wheel", clone)).namelist())
    second = set(zipfile.ZipFile(build("wheel", next((tmp_path / "unpacked").iterdir()))).namelist())
    assert first == second and {f"lit_pure/_project/{file}" for file in project_files()} <= first
