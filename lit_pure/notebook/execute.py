"""Executes the notebooks from first to last cell, without a browser: `python -m lit_pure.notebook.execute`.

Knows nbclient, and how to run its kernel with this Python interpreter, whatever kernels are registered on the machine.
Writes a copy with outputs; the notebooks themselves are only read. Knows nothing of what is in the cells.
"""

import argparse
import logging
import os
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from lit_pure.config.project import PROJECT
from lit_pure.files.atomic import write_whole
from lit_pure.runs.folder import ROOT

log = logging.getLogger("lit_pure.notebook.execute")  # also if this file is run as the program

FOLDER = PROJECT / "notebooks"
"""The folder of the notebooks."""
OUT = ROOT / "notebooks"
"""The folder for executed copies."""
TIMEOUT = 1800
"""Limit for one cell [s]: enough for a large model, and a cell that hangs still ends."""


class NotebookError(ValueError):
    """A cell failed; the message contains its source and its error."""


class _ThisPython(KernelSpecManager):
    """Offers one kernel: this interpreter."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def list_notebooks(folder: Path = FOLDER) -> list[Path]:
    """The notebooks of a folder, by name. Raises ValueError if there are none."""
    found = sorted(folder.glob("*.ipynb"))
    if not found:
        raise ValueError(f"{folder}: no notebooks (*.ipynb) in it")
    return found


def execute(path: Path, out: Path, directory: Path, timeout: int = TIMEOUT) -> Path:
    """Execute one notebook and write a copy with its outputs; if a cell fails, with the outputs so far.

    Args:
        path: of the notebook, which is only read.
        out: folder for the copy; created if missing.
        directory: working directory of the cells, with `runs/` in it.
        timeout: limit for a cell [s].

    Returns:
        the copy.

    Raises:
        NotebookError: a cell failed, took too long, or ended the kernel.
        ValueError: the file is not a notebook.
        OSError: the copy cannot be written.
    """
    try:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} cannot be read as a notebook ({' '.join(str(error).split())})") from error
    out.mkdir(parents=True, exist_ok=True)
    copy = out / path.name
    if copy.exists() and copy.samefile(path):
        raise ValueError(f"{out}: the executed copy would overwrite the notebook; name another folder with --out")
    started: list[Any] = []
    resources = {"metadata": {"path": str(directory)}}
    try:
        with _kernel() as (manager, environment):
            client = NotebookClient(notebook, km=manager, timeout=timeout, resources=resources)
            client.on_cell_execute = lambda cell, cell_index: started.append(cell)
            client.execute(env=environment, cleanup_kc=True)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(_failure(path, notebook, started, error, timeout)) from error
    finally:
        write_whole(copy, nbformat.writes(notebook))  # type: ignore[no-untyped-call]
    return copy


@contextmanager
def _kernel() -> Iterator[tuple[AsyncKernelManager, dict[str, str]]]:
    """A kernel manager and the kernel's environment, without the user's own settings and without network.

    Kernel and client communicate through Unix sockets in a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="nb") as folder:
        home = {
            "IPYTHONDIR": folder,
            "JUPYTER_RUNTIME_DIR": folder,
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        manager = AsyncKernelManager(
            kernel_spec_manager=_ThisPython(),
            connection_file=str(Path(folder, "kernel.json")),
            transport="ipc",
            ip=str(Path(folder, "socket")),
        )
        yield manager, {**os.environ, **home}


def _failure(path: Path, notebook: Any, started: list[Any], error: Exception, timeout: int) -> str:
    """The message for a failure: the last started cell with its source, and the reason."""
    count = sum(cell.cell_type == "code" for cell in notebook.cells)
    if isinstance(error, CellExecutionError):
        reason = f"{error.ename}: {error.evalue}"
    elif isinstance(error, CellTimeoutError):
        reason = f"it took more than {timeout} s"
    else:
        reason = "the kernel died (killed, or out of memory)"
    if not started:
        return f"{path.name}: no cell was started: {reason}"
    lines = textwrap.indent(started[-1].source, "    ")
    return f"{path.name}: code cell {len(started)} of {count} failed:\n{lines}\n{reason}"


def main(argv: Sequence[str] | None = None) -> int:
    """Execute all notebooks, or the named ones; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="lit_pure.notebook.execute", description="Execute notebooks, write copies.")
    parser.add_argument("notebooks", nargs="*", type=Path, help=f"files (default: all of {FOLDER.name}/)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for executed copies (default: {OUT})")
    parser.add_argument("--timeout", type=int, default=TIMEOUT, metavar="S", help=f"for a cell (default: {TIMEOUT} s)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("lit_pure").setLevel(logging.INFO)
    bar = tqdm(arguments.notebooks or list_notebooks(), unit=" notebooks", file=sys.stderr, disable=None)
    for path in bar:
        bar.set_description(path.stem)
        try:
            copy = execute(path, arguments.out, Path.cwd(), arguments.timeout)
        except (ValueError, OSError) as error:
            bar.close()
            log.error("%s", error)
            return 1
        log.info("%s: executed, see %s", path.name, copy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
