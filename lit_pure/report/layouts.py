"""The layouts of papers' tables: which published table, and which runs of ours stand in it.

Knows names of layouts, tables, rows and experiments. Knows nothing of figures (`published.py`, `measured.py`), nor of
how a table is put together (`assemble.py`).
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.compose import ConfigError

PURE_RUNS = ("pure/official", "pure/paper", "pure/nano", "demo")
"""Runs that are PURE as the paper has it, at any size."""


@dataclass(frozen=True)
class Layout:
    """One table of a paper, as rows of ours are put beside it."""

    paper: str
    """File in `data/published/`."""
    table: str
    """The table in that file."""
    shape: Literal["sets", "rows", "across", "turned"]
    """What stands where: `sets` a block of rows per test set; `rows` ours below each published row; `across` a column
    per test set; `transpose` methods as columns."""
    ours: Literal["", "pure", "tokenizer", "complexity"] = ""
    """What of ours is shown: tests of a family's runs, what the restoring of PURE runs costs, or nothing."""
    protocol: str = "pure"
    """By which keys of metrics the columns of ours are filled."""
    fills: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Published row to experiments, whose newest finished runs stand below it."""
    remark: str = ""
    """What one must know to read it."""

    @property
    def family(self) -> str:
        """Whose runs are shown; "" is nobody's."""
        return "pure" if self.ours == "complexity" else self.ours


_OWN = {"PURE": PURE_RUNS}
_NO_RECIPE = "NSARM tells no recipe: its scale of MANIQA fits the network of PIPAL, its crops of pictures are its own."
_NO_COUNTS = "None of ours: the thresholds of the three counts are not published."
LAYOUTS = {
    "table1": Layout(
        "pure",
        "table1",
        "across",
        "tokenizer",
        fills={"VQGAN": ("tokenizer/official", "tokenizer/paper", "tokenizer/nano")},
        remark="PSNR of ours is that of the luma; the paper does not say which it is.",
    ),
    "table2": Layout("pure", "table2", "sets", "pure", fills=_OWN),
    "table3": Layout("pure", "table3", "sets", "pure", fills=_OWN),
    "table4": Layout("pure", "table4", "turned", "complexity", fills=_OWN),
    "table5": Layout(
        "pure",
        "table5",
        "rows",
        "pure",
        fills={
            "No Guidance": ("ablations/guidance/none",),
            "Perception Guidance": ("ablations/guidance/perception",),
            "Understanding Guidance": ("ablations/guidance/understanding",),
            "Full Guidance": ("ablations/guidance/full",),
        },
    ),
    "table6": Layout(
        "pure",
        "table6",
        "rows",
        "pure",
        fills={
            "Top-1": ("ablations/sampling/top1",),
            "Top-2000": ("ablations/sampling/top2000",),
            "Dynamic Top-k": ("ablations/sampling/dynamic",),
        },
    ),
    "figure5": Layout(
        "pure", "figure5", "rows", remark="None of ours: votes are gathered in a gallery and counted by lit-pure votes."
    ),
    "nsarm-results": Layout("nsarm", "results", "sets", "pure", protocol="osediff", fills=_OWN, remark=_NO_RECIPE),
    "nsarm-robustness": Layout("nsarm", "robustness", "sets", remark=_NO_COUNTS),
    "nsarm-time": Layout("nsarm", "time", "sets", "complexity", fills=_OWN),
}
"""Every layout by its name."""


def layout(name: str) -> Layout:
    """The layout of a name. Raises ConfigError with the nearest name where there is none."""
    if name not in LAYOUTS:
        near = difflib.get_close_matches(name, LAYOUTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"--layout {name}: no such layout; {hint}there are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
