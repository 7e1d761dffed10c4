"""Reads weights files of other projects without running code, and reports by name what does not fit.

Knows safetensors and torch's pickles, as one file or several with an index, as tensors by name. Knows nothing of what
the names mean. Files are memory-mapped: nothing is copied before it is written again.
"""

import argparse
import pickle
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.models import weights

PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
TABLES = ("params", "model", "params_ema", "state_dict", "model_state_dict", "ema", "model_ema", "ema_state_dict")
"""Keys below which training scripts save a network; its moving average (ema) is taken where there is nothing else."""
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts that torch adds to names: torch.compile, sharding, recomputing. DataParallel adds `module` in front."""
SHOWN = 5
"""Most names in a message, for each kind of mismatch."""

Shapes = Mapping[str, tuple[int, ...]]


def read_folder(folder: Path, remedy: str) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder, from safetensors if any. Raises ValueError naming the file."""
    if any((folder / name).is_file() for name in (weights.SINGLE, weights.INDEX)):
        return weights.read_state(folder, remedy)
    if (folder / PICKLE_INDEX).is_file():
        names = weights.files_in_index(folder / PICKLE_INDEX, remedy)
    elif (folder / PICKLE).is_file():
        names = [PICKLE]
    else:
        layouts = f"{weights.SINGLE}, {weights.INDEX}, {PICKLE}, {PICKLE_INDEX}"
        raise ValueError(f"{folder} contains no weights (looked for {layouts}); {remedy}")
    state: dict[str, Tensor] = {}
    for name in names:
        state |= tensors(read_pickle(folder / name, remedy), folder / name, remedy)
    return state


def read_pickle(path: Path, remedy: str) -> Any:
    """The tensors and plain containers in a file of `torch.save`; a file with code is refused, never run."""
    zipped = path.is_file() and zipfile.is_zipfile(path)
    try:
        # LlamaGen's training saves its arguments with the model; a Namespace only stores values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if zipped or "global" in str(error).lower():
            raise ValueError(
                f"{path} contains code besides tensors, which is not run; get it as safetensors, or let someone who "
                "trusts its author save only the tensors: torch.save({'model': loaded['model']}, path)"
            ) from error
        raise ValueError(f"{path} cannot be read (it is not a torch checkpoint); {remedy}") from error
    except (OSError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read ({' '.join(str(error).split()) or 'it is empty'}); {remedy}"
        ) from error


def tensors(content: Any, path: Path, remedy: str) -> dict[str, Tensor]:
    """The table of tensors in a checkpoint: the content itself, or below the first of `TABLES`.

    Raises ValueError that says what is there instead.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{path} contains no table of tensors (found {type(content).__name__}); {remedy}")
    if content and all(isinstance(item, Tensor) for item in content.values()):
        return {str(name): item for name, item in content.items()}
    inner = [content[name] for name in TABLES if isinstance(content.get(name), dict)]
    if inner:
        return tensors(inner[0], path, remedy)
    found = _join_names([str(name) for name in content]) or "an empty table"
    raise ValueError(
        f"{path} contains no table of tensors (found {found}; looked below {', '.join(TABLES)}): take the file with "
        "the network's weights, or save them alone: torch.save({'model': network.state_dict()}, path)"
    )


def unwrapped(state: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """The same tensors without what torch and training scripts put into their names.

    Args:
        state: tensors by name.
        wanted: names that are looked for. A first part that all tensors share and none of these has is taken off.
    """
    clean = {".".join(part for part in name.split(".") if part not in WRAPPERS): item for name, item in state.items()}
    known = {name.partition(".")[0] for name in wanted}
    while len(shared := {name.partition(".")[0] for name in clean}) == 1 and not shared & known:
        if not all("." in name for name in clean):
            break
        clean = {name.partition(".")[2]: item for name, item in clean.items()}
    return clean if len(clean) == len(state) else dict(state)


def require_shapes(found: Shapes, wanted: Shapes, source: Path, remedy: str) -> None:
    """Raises ValueError naming missing tensors, unknown tensors, and tensors of another shape."""
    kinds = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unknown": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {list(found[name])} instead of {list(wanted[name])}"
            for name in sorted(found.keys() & wanted.keys())
            if found[name] != wanted[name]
        ],
    }
    complaints = [f"{len(names)} {kind}: {_join_names(names)}" for kind, names in kinds.items() if names]
    if complaints:
        raise ValueError(f"{source} does not fit: {'; '.join(complaints)}; {remedy}")


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {name: tuple(item.shape) for name, item in state.items()}


def _join_names(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
