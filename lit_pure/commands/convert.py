"""`convert`: weights of a run in the layout that the official code reads. Knows flags and what is printed."""

import argparse
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.convert.layouts import layout_for
from lit_pure.families.family import weights_run
from lit_pure.families.table import family_of
from lit_pure.runs import folder as runs
from lit_pure.runs import origin


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "convert", convert_command)
    words = (
        "pure/... gives a Hugging Face folder, tokenizer/... LlamaGen's .pt, dem/... MM-RealSR's .pth, nsarm/... "
        "a file like NSARM.pth, nsarm/.../tokenizer one like infinity_vae_*.pth"
    )
    command.add_argument("run", help=f"for example pure/nano; {words}")
    command.add_argument("--out", type=Path, required=True, help="folder or file to write; must not exist yet")
    rows = (
        "rows of the query and key norms of a PURE run: 1 for PURE's code (default), the number of heads for "
        "transformers"
    )
    command.add_argument("--norm-rows", type=int, default=1, help=rows)


def convert_command(arguments: argparse.Namespace) -> int:
    """Write the weights of a finished run in the official layout."""
    run, out = runs.require(arguments.run), arguments.out
    run = weights_run(run)
    if out.exists():
        raise ValueError(f"{out} exists already; name another --out")
    if arguments.norm_rows < 1:
        raise ValueError(f"--norm-rows {arguments.norm_rows} is below 1; give 1, or the number of heads")
    layout_for(run).write(out, run, arguments.norm_rows)
    if family_of(run).restores:
        origin.write(out, run)
    print(f"{out}: the weights of {run.label}")
    return 0
