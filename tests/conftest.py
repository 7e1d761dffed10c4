"""A house with experiments small enough for seconds: the real YAML files, each with a small one laid over it."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lit_pure.__main__ import main
from lit_pure.runs import folder as runs

ROOT = Path(__file__).parents[1]
# Tests that start a process find the package also where it is not installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
# One of several workers (pytest-xdist) takes one core, and so does what it starts; before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# In the background of a script SIGINT is ignored, by all that is started from there, too; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
SMALL_DATA = "data: {batch_size: 2, size: 96, test: {demo: {crops: 1}}, val: {crops: 1}}\n"
SMALL = {
    "tokenizer/nano": SMALL_DATA + "vq: {channels: [32, 32]}\ntrainer: {max_steps: 4, val_every: 2, log_every: 1}\n",
    "dem/nano": SMALL_DATA
    + "dem: {features: [4, 4, 4], calibration: 8}\ntrainer: {max_steps: 3, val_every: 2, log_every: 1}\n",
    "pure/nano": SMALL_DATA
    + "needs: {dem: dem/nano}\n"
    + "backbone: {width: 32, layers: 2, heads: 2, ffn: 48}\nsampling: {max_text: 12}\n"
    + "trainer: {max_steps: 6, val_every: 4, log_every: 1}\n",
    "nsarm/nano/tokenizer": SMALL_DATA + "bsq: {width: 32}\ntrainer: {max_steps: 4, val_every: 2, log_every: 1}\n",
    "nsarm/nano/pretrain": SMALL_DATA
    + "transformer: {width: 32, layers: 2, heads: 2, ffn: 48}\n"
    + "transformation: {stem: [8], widths: [8, 8, 8], layers: [1, 1, 1], heads: [2, 2, 2]}\n"
    + "trainer: {max_steps: 4, val_every: 2, log_every: 1}\n",
    "nsarm/nano/stage1": "data: {batch_size: 2}\ntrainer: {max_steps: 4, val_every: 2, log_every: 1}\n",
    "nsarm/nano/stage2": "trainer: {max_steps: 4, val_every: 2, log_every: 1}\n",
    "demo": SMALL_DATA
    + "needs: {tokenizer: tokenizer/nano, start: ''}\noptim: {lr: 2.0e-3}\n"
    + "trainer: {max_steps: 6, val_every: 4}\n",
}


LONGEST = (
    "test_sharding",
    "lit/test_resume",
    "test_run.py",
    "study/test_study.py",
    "test_notebooks",
    "tests/launch",
    "tests/faults",
    "test_jacobi",
    "test_shipped",
)
"""Files that take longest come first, so that no core waits for another one at the end."""


def pytest_configure() -> None:
    """Hear a closed terminal even under nohup, which has all that it starts ignore SIGHUP: tests send it."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of files; that within a file stays."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in LONGEST))


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """What a test draws without a generator of its own does not depend on the tests before it, nor on their order."""
    random.seed(0)
    for library, seed in {"numpy.random": "seed", "torch": "manual_seed"}.items():
        if library in sys.modules:
            getattr(sys.modules[library], seed)(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs beside the project; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared photographs here")
    return folder


@pytest.fixture(scope="session")
def few_shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the runs that come with the project only the degradation estimator's."""
    root = tmp_path_factory.mktemp("shipped")
    shutil.copytree(runs.SHIPPED_ROOT / "dem", root / "dem")
    return root


@pytest.fixture(autouse=True)
def not_all_that_is_shipped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests make their own small models: whatever is shipped is not found, unless a test is marked `shipped`."""
    if not request.node.get_closest_marker("shipped"):
        monkeypatch.setattr(runs, "SHIPPED_ROOT", request.getfixturevalue("few_shipped"))


@pytest.fixture(scope="session")
def built_house(tmp_path_factory: pytest.TempPathFactory, few_shipped: Path) -> Path:
    """A working directory in which `run demo` is finished, made once."""
    house = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "experiments", house / "experiments")
    photos = house / "experiments" / "photos"
    for name in ("bsds500", "mixed"):  # which not everybody has
        shutil.copy(photos / "skimage.yaml", photos / f"{name}.yaml")
    for name, changes in SMALL.items():
        real = house / "experiments" / f"{name}.yaml"
        real.rename(real.with_name(f"real_{real.name}"))
        real.write_text(f"base: {real.relative_to(house / 'experiments').with_name('real_' + real.stem)}\n{changes}")
    before = Path.cwd()
    os.chdir(house)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "SHIPPED_ROOT", few_shipped)
            assert main(["run", "demo"]) == 0
    finally:
        os.chdir(before)
    return house


@pytest.fixture
def house(built_house: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The built house as working directory; what a test adds to its runs is removed again."""
    monkeypatch.chdir(built_house)
    before = set(built_house.rglob("version_*"))
    yield built_house
    for folder in set(built_house.rglob("version_*")) - before:
        shutil.rmtree(folder, ignore_errors=True)
