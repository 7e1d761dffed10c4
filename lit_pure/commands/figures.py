"""How measured figures are shown and written, and what they were measured on. Imports torch when it is asked."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lit_pure import runs
from lit_pure.commands.device import device
from lit_pure.config.compose import COMMAND_LINE, ConfigError


def chosen_device(threads: int) -> Any:
    """The accelerator where there is one, else the CPU with so many threads; 0 is torch's own choice."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    return device()


def where_measured(device: Any) -> dict[str, Any]:
    """What the figures were measured on."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def progress(name: str, total: int, unit: str = " tokens") -> Callable[[int], None]:
    """A bar on standard error."""
    from tqdm import tqdm

    bar = tqdm(total=total, desc=name, unit=unit, file=sys.stderr, disable=None, leave=False)

    def made(count: int) -> None:
        bar.update(count)
        if bar.n >= total:
            bar.close()

    return made


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Rows under each other."""
    import pandas as pd

    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.2f}", na_rep="-"))


def require_place(flag: str, path: Path | None) -> None:
    """Raise ConfigError where a file cannot be written, before anything is measured."""
    if path is not None and (path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK)):
        remedy = "name a file in a folder that is there and can be written to"
        raise ConfigError(f"{COMMAND_LINE}: {flag} {path} cannot be written; {remedy}")


def write(path: Path | None, report: dict[str, Any]) -> None:
    """A JSON file, where one is wanted, and a word about it."""
    if path is not None:
        runs.write_json(path, report)
        print(f"written: {path}")
