"""Rooms of the package, which of them import which, and how high each lies. Knows no rule, and reads no file.

A room is a folder directly below `lit_pure/`, or `__main__`. How high it lies follows from what it imports: one floor
above the highest room that it imports. Nobody numbers floors, so a circle is the only way to import upwards. Imports
within functions and under `if TYPE_CHECKING:` count too: who names another room's types knows that room.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

Arrows = Mapping[tuple[str, str], list[str]]
"""(room, room that it imports) -> where it does so."""


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


def arrows(modules: Mapping[Path, ast.Module]) -> Arrows:
    """Which room imports which other one; each imports "", since Python runs the package's `__init__.py` first."""
    rooms = {room(dotted(path)) for path in modules}
    found = defaultdict(list)
    for path, tree in modules.items():
        own = room(dotted(path))
        if own:
            found[own, ""].append(f"{path}:1")
        for line, name in imported(tree, path):
            other = room(name) if room(name) in rooms else ""
            where = f"{path}:{line}"
            if name.split(".")[0] == "lit_pure" and other != own and where not in found[own, other]:
                found[own, other].append(where)
    return found


def below(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """What each room imports."""
    found = defaultdict(set)
    for upper, lower in pairs:
        found[upper].add(lower)
    return dict(found)


def reached(start: str, lower: Mapping[str, set[str]]) -> set[str]:
    """All rooms that `start` imports, directly or through others."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = lower.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found


def circles(found: Arrows) -> list[str]:
    """A line for each arrow that is part of a circle, the arrow of fewest imports first: removing it costs least."""
    lower = below(found)
    inside = [pair for pair in found if pair[0] in reached(pair[1], lower)]
    return [f"{a} imports {b}: {', '.join(found[a, b])}" for a, b in sorted(inside, key=lambda pair: len(found[pair]))]


def heights(found: Arrows) -> dict[str, int]:
    """The floor of each room. graphlib.CycleError where there is a circle."""
    lower = below(found)
    floors: dict[str, int] = {}
    for name in TopologicalSorter(lower).static_order():
        floors[name] = max((floors[other] + 1 for other in lower.get(name, ())), default=0)
    return floors
