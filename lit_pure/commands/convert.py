"""`convert`: weights of a run in the layout that the official code reads. Knows flags and what is printed."""

import argparse
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.config.dem import DemExperiment
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.runs import folder as runs


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "convert", convert_command)
    words = "pure/... gives a Hugging Face folder, tokenizer/... LlamaGen's .pt, dem/... MM-RealSR's .pth"
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
    if run.experiment().needs.weights:
        run = runs.require(run.provenance()["needs"]["weights"])
    experiment = run.experiment()
    if out.exists():
        raise ValueError(f"{out} exists already; name another --out")
    if arguments.norm_rows < 1:
        raise ValueError(f"--norm-rows {arguments.norm_rows} is below 1; give 1, or the number of heads")
    from lit_pure.families.pure.weights import load_pure
    from lit_pure.models import weights

    if isinstance(experiment, PureExperiment):
        from lit_pure.convert.chameleon import write_chameleon

        write_chameleon(out, *load_pure(run.weights), arguments.norm_rows)
    elif isinstance(experiment, DemExperiment):
        from lit_pure.convert.deresnet import write_deresnet

        write_deresnet(out, weights.load_dem(run.weights))
    else:
        assert isinstance(experiment, TokenizerExperiment)
        from lit_pure.convert.llamagen import write_llamagen

        write_llamagen(out, weights.load_tokenizer(run.weights))
    print(f"{out}: the weights of {run.label}")
    return 0
