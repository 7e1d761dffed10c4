"""Shows and writes measured figures, with the device they were measured on. Imports torch only when called."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lit_pure.commands.device import device
from lit_pure.commands.parsing import print_table
from lit_pure.files.atomic import write_json


def chosen_device(threads: int) -> Any:
    """The accelerator if any, else the CPU with this number of threads; 0 is torch's choice."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    return device()


def where_measured(device: Any) -> dict[str, Any]:
    """The hardware and software of a measurement."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def progress(name: str, total: int, unit: str = " tokens") -> Callable[[int], None]:
    """A progress bar on standard error; returns what advances it."""
    from tqdm import tqdm

    bar = tqdm(total=total, desc=name, unit=unit, file=sys.stderr, disable=None, leave=False)

    def advance(count: int) -> None:
        bar.update(count)
        if bar.n >= total:
            bar.close()

    return advance


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table; None becomes a dash."""
    print_table([[*rows[0]], *([_cell(value) for value in row.values()] for row in rows)], range(len(rows[0])))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def write(path: Path | None, report: dict[str, Any]) -> None:
    """Write a JSON file and say so, unless `path` is None."""
    if path is not None:
        write_json(path, report)
        print(f"written: {path}")
