"""Every knob is read by something, under its own name and as a knob of its own dataclass."""

import ast
from dataclasses import dataclass, field

import pytest

from lit_pure.config.compose import PROJECT
from lit_pure.config.families import FAMILIES
from tests.config.knob_reads import Reader, knobs, schemas

COMPOSED = {("DegradationConfig", "preset"), ("Experiment", "mixin")}
"""Read by `compose.py` alone, which puts other knobs in their place."""

ONLOOKERS = {"config", "bench", "planning", "report", "gallery", "notebook", "study"}
"""Rooms that only check, measure, foresee or show what a knob does elsewhere."""


def test_no_knob_is_dead() -> None:
    known = set().union(*(schemas(root) for root in FAMILIES.values()))
    every = {knob for schema in known for knob in knobs(schema).values()}
    modules = (path for path in (PROJECT / "lit_pure").rglob("*.py") if not set(path.parts) & ONLOOKERS)
    read = Reader((ast.parse(path.read_text(encoding="utf-8")) for path in modules), known).read()
    assert every - read == COMPOSED


@dataclass
class Inner:
    k: int = 0
    val: int = 0


@dataclass
class Root:
    inner: Inner = field(default_factory=Inner)
    named: dict[str, Inner] = field(default_factory=dict)
    seed: int = 0


@dataclass
class Child(Root):
    seed: int = 1


K, SEED = ("Inner", "k"), ("Root", "seed")


@pytest.mark.parametrize(
    ("code", "knob"),
    [
        ("root.inner.k", K),
        ("self.root.inner.k", K),
        ("def f(given: Inner): given.k", K),
        ("def f(given: Inner | None): given.k", K),
        ("class A:\n  given: Inner\nother.given.k", K),
        ("given = root.inner\nother = given\nother.k", K),
        ("a, given = 3, root.inner\ngiven.k", K),
        ("given = replace(root.inner, val=2)\ngiven.k", K),
        ("for name, given in root.named.items(): given.k", K),
        ("[given.k for given in root.named.values()]", K),
        ("root.named['x'].k", K),
        ("def f() -> Inner: ...\nf().k", K),
        ("Inner().k", K),
        ("if isinstance(root, Child): root.seed", SEED),
    ],
)
def test_a_knob_is_read_by_its_owner_however_that_is_named(code: str, knob: tuple[str, str]) -> None:
    assert knob in Reader([ast.parse(code)], schemas(Child)).read()


@pytest.mark.parametrize(
    "code",
    [
        "other.k",
        "k",
        "root.inner.kind",
        "root.inner.value",
        "root.inner.k = 3",
        "'root.inner.k'  # root.inner.k",
        "def f(given: Other): given.k",
        "inner.k",
        "module.inner().k",
        "other.given().k",
    ],
)
def test_a_knob_is_not_read_by_an_attribute_of_something_else(code: str) -> None:
    assert K not in Reader([ast.parse(code)], schemas(Child)).read()


def test_the_type_of_a_variable_holds_in_its_file_and_that_of_an_attribute_everywhere() -> None:
    gives = ast.parse("def f(given: Inner): self.kept = given")
    assert K not in Reader([gives, ast.parse("given.k")], schemas(Child)).read()
    assert K in Reader([gives, ast.parse("other.kept.k")], schemas(Child)).read()
