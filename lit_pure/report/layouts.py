"""The layouts of papers' tables: which published table, and which of our runs belong in it.

Knows names of layouts, tables, rows and experiments. Knows nothing of figures (`published.py`, `measured.py`), or of
how a table is put together (`assemble.py`).
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.compose import ConfigError

PURE_RUNS = ("pure/official", "pure/paper", "pure/nano", "demo")
"""Runs of PURE as in the paper, at any size."""


@dataclass(frozen=True)
class Layout:
    """One table of a paper, with our rows beside it."""

    paper: str
    """File in `data/published/`."""
    table: str
    """The table in that file."""
    shape: Literal["sets", "rows", "across", "turned"]
    """`sets`: a block of rows per test set; `rows`: our rows below each published row; `across`: a column per test set;
    `turned`: methods as columns."""
    ours: Literal["", "pure", "tokenizer", "complexity"] = ""
    """What we show: tests of a family's runs, the cost of restoring with PURE runs, or nothing."""
    protocol: str = "pure"
    """The protocol that decides our metric for each column."""
    fills: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Published row -> experiments, whose newest finished runs are shown below it."""
    remark: str = ""
    """What readers must know."""

    @property
    def family(self) -> str:
        """The family whose runs are shown; "" shows none."""
        return "pure" if self.ours == "complexity" else self.ours


_OWN = {"PURE": PURE_RUNS}
_NO_RECIPE = "NSARM states no recipe: its scale of MANIQA fits the network of PIPAL, and it uses its own crops."
_NO_COUNTS = "None of ours: the thresholds of the three counts are not published."
LAYOUTS = {
    "table1": Layout(
        "pure",
        "table1",
        "across",
        "tokenizer",
        fills={"VQGAN": ("tokenizer/official", "tokenizer/paper", "tokenizer/nano")},
        remark="Our PSNR is on the luma; the paper does not say which it uses.",
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
        "pure", "figure5", "rows", remark="None of ours: a gallery collects votes, and lit-pure votes counts them."
    ),
    "nsarm-results": Layout("nsarm", "results", "sets", "pure", protocol="osediff", fills=_OWN, remark=_NO_RECIPE),
    "nsarm-robustness": Layout("nsarm", "robustness", "sets", remark=_NO_COUNTS),
    "nsarm-time": Layout("nsarm", "time", "sets", "complexity", fills=_OWN),
}
"""All layouts by name."""


def layout(name: str) -> Layout:
    """The layout of a name. Raises ConfigError with the most similar name where it does not exist."""
    if name not in LAYOUTS:
        near = difflib.get_close_matches(name, LAYOUTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"--layout {name}: no such layout; {hint}there are {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
