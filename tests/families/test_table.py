"""The table of families: whole, without Lightning, and the one place that knows them."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from lit_pure.config import families as config
from lit_pure.config.compose import PROJECT, ConfigError
from lit_pure.families import table
from lit_pure.families.family import weights_run
from lit_pure.images.io import write_png
from lit_pure.runs import folder as runs

IMPORTS = """
import sys
import lit_pure.families.table, lit_pure.families.settings
assert "torch" not in sys.modules
import lit_pure.families.pure.build, lit_pure.families.pure.restorer, lit_pure.restoring.folder
print(sorted({name.partition(".")[0] for name in sys.modules} & {"lightning", "torchmetrics", "pyiqa", "transformers"}))
"""
RESTORE = """
import sys
sys.modules["lightning"] = None  # so that importing it fails
from lit_pure.__main__ import main
sys.exit(main(["restore", "a.png", "--run", "demo"]))
"""


def test_every_composable_family_is_in_the_table_with_its_own_dataclass() -> None:
    assert table.FAMILIES.keys() == config.FAMILIES.keys()
    assert {name: family.config for name, family in table.FAMILIES.items()} == config.FAMILIES
    assert all(family.config.family == name for name, family in table.FAMILIES.items())


@pytest.mark.parametrize("name", table.FAMILIES)
def test_what_may_change_when_a_run_restores_tells_what_pictures_depend_on(name: str) -> None:
    """Studies and records of restored photographs ask each section."""
    settings = table.FAMILIES[name].config()
    for section in table.FAMILIES[name].changeable:
        assert getattr(settings, section).identity(), section


@pytest.mark.parametrize("name", table.FAMILIES)
def test_the_module_named_in_the_table_builds_that_family(name: str) -> None:
    build = import_module(table.FAMILIES[name].module).build
    assert build.__annotations__["experiment"] is table.FAMILIES[name].config


def test_a_default_family_is_tested_by_the_module_of_any_restorer() -> None:
    assert import_module(table.Family.module).build.__annotations__["experiment"].__name__ == "Experiment"


def test_what_restores_imports_neither_lightning_nor_metrics() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_restore_works_where_lightning_does_not_import(house: Path, tmp_path: Path) -> None:
    write_png(house / "a.png", torch.rand(3, 30, 30, generator=torch.Generator().manual_seed(0)))
    try:
        done = subprocess.run([sys.executable, "-c", RESTORE], cwd=house, capture_output=True, text=True)
        assert done.returncode == 0 and "1 of 1 restored" in done.stdout, done.stderr
    finally:
        (house / "a.png").unlink()


def test_runs_that_only_sample_have_the_weights_of_another(house: Path) -> None:
    demo, tokenizer = runs.require("demo"), runs.require("tokenizer/nano")
    family = table.family_of(demo)
    assert weights_run(demo) == demo
    assert family.weights(demo) == {"weights": demo, "tokenizer": tokenizer}
    assert family.tokenizer_run(demo) == table.family_of(tokenizer).tokenizer_run(tokenizer) == tokenizer


@pytest.mark.parametrize("name", ["tokenizer/nano", "dem/nano"])
def test_a_run_that_restores_nothing_is_refused_by_name(house: Path, name: str) -> None:
    run = runs.require(name)
    family = name.partition("/")[0]
    with pytest.raises(ConfigError, match=f"{name}/version_0 is a run of family {family}, which restores nothing"):
        table.restorer_of(run)
    assert not table.family_of(run).restores
