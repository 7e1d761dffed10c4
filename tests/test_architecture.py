"""The rules of the house: imports go down only, no torch before it is needed, no stray print, files that can be read.

What a room is, and how high it lies, says `rooms.py`.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from lit_pure.config.compose import PROJECT
from tests.rooms import Arrows, arrows, circles, dotted, heights, imported, room

MODULES = sorted(path.relative_to(PROJECT) for path in (PROJECT / "lit_pure").rglob("*.py"))
SOURCES = [*MODULES, *sorted(path.relative_to(PROJECT) for path in (PROJECT / "tests").rglob("*.py"))]

TORCH_FREE_ROOMS = {"", "config", "files", "runs", "launch", "planning", "report", "commands", "__main__"}
"""They answer before torch is imported; "" is the package's own `__init__.py`."""
TORCH_FREE_FILES = {Path("lit_pure/families/pure/start_check.py"), Path("lit_pure/families/nsarm/schedule.py")}
"""So do these, and the files directly in `families/`."""
TORCH_AND_ITS_IMPORTERS = {"torch", "torchvision", "torchmetrics", "lightning", "transformers", "pyiqa", "basicsr"}
LONGEST_FILE = 320
FAMILY_SWITCH = re.compile(
    r"isinstance\([^)]*(Pure|Tokenizer|Dem|NSARM)Experiment|case (Pure|Tokenizer|Dem|NSARM)Experiment|family =="
)

every_module = pytest.mark.parametrize("path", MODULES, ids=str)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse((PROJECT / path).read_text(encoding="utf-8"), filename=str(path))


def torch_free(path: Path) -> bool:
    return room(dotted(path)) in TORCH_FREE_ROOMS or path.parent.name == "families" or path in TORCH_FREE_FILES


def outside_functions(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that importing the module executes; `if TYPE_CHECKING:` does not count."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def remarks(source: str) -> Iterator[str]:
    """Comments and docstrings, those below a variable included."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def missing_files(source: str, files: Iterable[Path]) -> list[str]:
    """Files that a remark names in backticks, by the end of their path, and that are not among `files`."""
    ends = tuple(f"/{path.as_posix()}" for path in files)
    names = [name for remark in remarks(source) for name in re.findall(r"`([\w./]+\.py)`", remark)]
    return [name for name in names if not any(end.endswith(f"/{name}") for end in ends)]


def test_no_room_imports_itself_through_others():
    found = circles(arrows({path: parse(path) for path in MODULES}))
    assert not found, "\n".join(["circles between rooms:", *found])


def test_imports_go_down_and_the_command_line_is_on_top():
    found = arrows({path: parse(path) for path in MODULES})
    floors = heights(found)
    assert all(floors[upper] > floors[lower] for upper, lower in found)
    assert {pair for pair in found if pair[1] in {"commands", "__main__"}} == {("__main__", "commands")}


def test_the_package_holds_rooms_only():
    entries = {path.name for path in (PROJECT / "lit_pure").iterdir() if not path.is_dir()}
    assert entries == {"__init__.py", "__init__.pyi", "__main__.py"}, "each file belongs into a room"


@every_module
def test_only_families_and_config_know_the_families(path):
    lines = (PROJECT / path).read_text(encoding="utf-8").splitlines()
    switches = [
        f"{path}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if FAMILY_SWITCH.search(line)
    ]
    assert not switches or room(dotted(path)) in {"families", "config"}, "\n".join(
        ["ask the object, or families/table.py:", *switches]
    )


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_named_in_remarks_exist(path):
    missing = missing_files((PROJECT / path).read_text(encoding="utf-8"), [*SOURCES, Path("setup.py")])
    assert not missing, f"{path} names {missing}, which do not exist"


@every_module
def test_module_has_a_docstring(path):
    empty = path.name == "__init__.py" and not (PROJECT / path).read_text(encoding="utf-8")
    assert empty or ast.get_docstring(parse(path)), f"{path}: say in a docstring what it knows, and what it does not"


@every_module
def test_only_the_command_line_prints(path):
    lines = [
        node.lineno
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not lines or room(dotted(path)) in {"commands", "__main__"}, (
        f"{path}: print( in lines {lines}; return or log it"
    )


@every_module
def test_file_can_be_read_in_one_sitting(path):
    lines = len((PROJECT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{path} has {lines} lines, more than {LONGEST_FILE}: make two ideas of it"


@pytest.mark.parametrize("path", [path for path in MODULES if torch_free(path)], ids=str)
def test_imports_no_torch_at_module_level(path):
    for statement in outside_functions(parse(path)):
        for line, name in imported(statement, path):
            assert name.split(".")[0] not in TORCH_AND_ITS_IMPORTERS, f"{path}:{line}: import {name} where it is used"


def test_nothing_torch_free_imports_torch_by_way_of_others():
    assert set(MODULES) >= TORCH_FREE_FILES, "a file that is gone is checked no more"
    names = [dotted(path) for path in MODULES if torch_free(path)]
    code = (
        f"import importlib, sys; [print(n) for n in {names} if importlib.import_module(n) and 'torch' in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout, f"these import torch, the first one of them at least: {done.stdout.split()}"


HOUSE = {
    "lit_pure/__init__.py": '__version__ = "0"',
    "lit_pure/config/data.py": "import torch",
    "lit_pure/images/io.py": "from lit_pure.config import data",
    "lit_pure/models/vq.py": "from ..images.io import read\nfrom ..config import data",
    "lit_pure/lit/pure.py": "def train():\n    import lit_pure.models.vq, torch",
    "lit_pure/__main__.py": "from lit_pure import __version__, lit",
}


def house(path: str = "lit_pure/images/io.py", code: str = "") -> Arrows:
    """The arrows of HOUSE with `code` instead of what stands at `path`, if any is given."""
    changed = HOUSE | ({path: code} if code else {})
    return arrows({Path(name): ast.parse(text) for name, text in changed.items()})


def test_height_is_the_longest_way_down():
    assert heights(house()) == {"": 0, "config": 1, "images": 2, "models": 3, "lit": 4, "__main__": 5}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("lit_pure/images/color.py", "import lit_pure.images.io"),
        ("lit_pure/images/color.py", "from . import io"),
        ("lit_pure/images/__init__.py", "from .io import read"),
        ("lit_pure/images/io.py", "from lit_pure import __version__"),
        ("lit_pure/lit/pure.py", "if True:\n    import lit_pure.models.vq, torch"),
        ("lit_pure/study/plan.py", "from lit_pure.lit.pure import Pure"),
    ],
)
def test_import_within_a_room_or_downwards_is_no_circle(path, code):
    assert not circles(house(path, code))


@pytest.mark.parametrize(
    ("path", "code", "arrow"),
    [
        ("lit_pure/images/io.py", "from ..models import vq", "images imports models: lit_pure/images/io.py:1"),
        ("lit_pure/config/data.py", "\nfrom lit_pure import lit", "config imports lit: lit_pure/config/data.py:2"),
        ("lit_pure/config/data.py", "if TYPE_CHECKING:\n    from .. import images", "config imports images: lit_pure/"),
        (
            "lit_pure/models/vq.py",
            "def f():\n    import lit_pure.lit.pure",
            "models imports lit: lit_pure/models/vq.py:2",
        ),
        (
            "lit_pure/models/vq.py",
            "from lit_pure.__main__ import main",
            "models imports __main__: lit_pure/models/vq.py:1",
        ),
        ("lit_pure/__init__.py", "import lit_pure.config.data", " imports config: lit_pure/__init__.py:1"),
    ],
)
def test_import_upwards_is_a_circle(path, code, arrow):
    found = circles(house(path, code))
    assert len(found) > 1, "the way back belongs to the circle"
    assert any(line.startswith(arrow) for line in found)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ('"""Knows `io.py` and `images/io.py`, not `lit/io.py`."""', ["lit/io.py"]),
        ("x = 1  # as in `vq.py`", ["vq.py"]),
        ('x: int\n"""Not `o.py`."""', ["o.py"]),
        ('def f():\n    """`vq.py`"""\n    return "`other.py`"', ["vq.py"]),
    ],
)
def test_remarks_are_searched_for_names_of_files(source, missing):
    assert missing_files(source, [Path("lit_pure/images/io.py")]) == missing


@pytest.mark.parametrize(
    ("line", "switches"),
    [
        ("if isinstance(experiment, PureExperiment):", True),
        ("if not isinstance(e, DemExperiment | TokenizerExperiment)", True),
        ("    case TokenizerExperiment():", True),
        ('if experiment.family == "pure":', True),
        ("def plan(experiment: PureExperiment) -> Plan:", False),
        ("family_of(experiment).planner", False),
    ],
)
def test_switch_on_the_family_is_recognised(line, switches):
    assert bool(FAMILY_SWITCH.search(line)) is switches
