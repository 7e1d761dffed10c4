"""The rules of the house: imports go down only, no torch before it is needed, no stray print, files that can be read.

A room is a folder or a file directly below `lit_pure/`. A module may import rooms on lower floors, and its own room.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lit_pure.config.compose import PROJECT

MODULES = sorted(path.relative_to(PROJECT) for path in (PROJECT / "lit_pure").rglob("*.py"))

FLOORS = {
    "config": 0,
    "basicsr_import": 0,
    "textfile": 0,
    "download": 0,
    "stopped": 0,
    "runs": 1,
    "checkpoints": 1,
    "continuing": 2,
    "restoring": 2,
    "starting": 2,
    "launch": 3,
    "images": 1,
    "degradation": 2,
    "tokens": 2,
    "captions": 2,
    "datasets": 3,
    "curation": 4,
    "metrics": 2,
    "sequence": 3,
    "backbone": 3,
    "sampling": 4,
    "planning": 4,
    "weights": 5,
    "photo": 5,
    "restore": 6,
    "convert": 6,
    "lit": 7,
    "fetch": 8,
    "restore_folder": 7,
    "degrade_folder": 7,
    "evaluate_folder": 7,
    "reconstruct_folder": 7,
    "bench": 8,
    "report": 8,
    "gallery": 9,
    "notebook": 9,
    "study": 10,
    "commands": 11,
    "__main__": 12,
}
TORCH_FREE_ROOMS = {
    "",
    "config",
    "textfile",
    "stopped",
    "runs",
    "checkpoints",
    "continuing",
    "starting",
    "restoring",
    "launch",
    "planning",
    "report",
    "commands",
    "__main__",
}
"""They answer before torch is imported; "" is the package's own `__init__.py`."""
TORCH_AND_ITS_IMPORTERS = {"torch", "torchvision", "torchmetrics", "lightning", "transformers", "pyiqa", "basicsr"}
LONGEST_FILE = 320

every_module = pytest.mark.parametrize("path", MODULES, ids=str)


def parse(path: Path) -> ast.Module:
    return ast.parse((PROJECT / path).read_text(encoding="utf-8"), filename=str(path))


def dotted(path: Path) -> str:
    """`lit_pure/images/io.py` is `lit_pure.images.io`; a package is itself, without `.__init__`."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """The room of a dotted name below `lit_pure`; "" for the package itself."""
    return [*module.split("."), ""][1]


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that the tree imports, wherever in it the import stands."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


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


def violations(tree: ast.AST, path: Path) -> list[str]:
    """What `path` imports from its own floor or from above."""
    own = room(dotted(path))
    found = []
    for line, name in imported(tree, path):
        if name.split(".")[0] != "lit_pure":
            continue
        other = room(name)
        if other not in FLOORS:
            if (PROJECT / "lit_pure" / other).is_dir() or (PROJECT / "lit_pure" / f"{other}.py").exists():
                found.append(
                    f"{path}:{line}: imports lit_pure.{other}, which is missing in FLOORS of {Path(__file__).name}"
                )
        elif other != own and FLOORS[other] >= FLOORS.get(own, -1):
            found.append(f"{path}:{line}: {own or 'lit_pure'} imports {other}, which is not on a floor below")
    return found


@every_module
def test_module_has_a_floor(path):
    own = room(dotted(path))
    assert own in FLOORS or own == "", f"{own} has no floor: add it to FLOORS in {Path(__file__).name}"


@every_module
def test_imports_go_down_only(path):
    assert not violations(parse(path), path)


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


@pytest.mark.parametrize("path", [path for path in MODULES if room(dotted(path)) in TORCH_FREE_ROOMS], ids=str)
def test_imports_no_torch_at_module_level(path):
    for statement in outside_functions(parse(path)):
        for line, name in imported(statement, path):
            assert name.split(".")[0] not in TORCH_AND_ITS_IMPORTERS, f"{path}:{line}: import {name} where it is used"


def test_nothing_torch_free_imports_torch_by_way_of_others():
    names = [dotted(path) for path in MODULES if room(dotted(path)) in TORCH_FREE_ROOMS]
    code = (
        f"import importlib, sys; [print(n) for n in {names} if importlib.import_module(n) and 'torch' in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout, f"these import torch, the first one of them at least: {done.stdout.split()}"


@pytest.mark.parametrize(
    ("path", "code", "right"),
    [
        ("lit_pure/images/io.py", "import lit_pure.images.color", True),
        ("lit_pure/images/io.py", "from . import color", True),
        ("lit_pure/images/io.py", "from ..tokens import vq", False),
        ("lit_pure/images/io.py", "from lit_pure import runs", False),
        ("lit_pure/images/io.py", "from lit_pure import __version__", True),
        ("lit_pure/images/__init__.py", "from .io import read", True),
        ("lit_pure/lit/pure.py", "def f():\n    from lit_pure import report", False),
        ("lit_pure/lit/pure.py", "if True:\n    import lit_pure.families.pure.sampling.plain, torch", True),
        ("lit_pure/models/vq.py", "from lit_pure.datasets.photos import Photos", False),
        ("lit_pure/__init__.py", "import lit_pure.config.families", False),
    ],
)
def test_the_rule_itself(path, code, right):
    assert (not violations(ast.parse(code), Path(path))) is right
