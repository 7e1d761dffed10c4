"""Weights on disk: safetensors with a config.json beside them.

Knows the kinds of weights we publish (tokenizer, dem, pure, and a restorer made of two of them), how to read and write
each strictly, and how to tell whether they are still what was written. Knows nothing of training. No pickle is read.

What is large is written as several files with an index, as Hugging Face does. Reading maps the files into memory:
tensors become the model's own without a copy, in the dtype they were stored in.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from omegaconf import OmegaConf
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lit_pure.config.dem import DemConfig
from lit_pure.config.pure import BackboneConfig, RestorerConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.files.atomic import sha256, write_json
from lit_pure.models.vq import VQTokenizer

Config = TypeVar("Config", VQConfig, DemConfig, BackboneConfig, RestorerConfig)
Model = TypeVar("Model", bound=nn.Module)

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
LARGEST_FILE = 5_000_000_000
"""Bytes; above it the weights become several files."""
AGAIN = "make the run again or name another one"
"""What to do about our own files; foreign ones have another remedy."""


def save_tokenizer(folder: Path, model: VQTokenizer) -> None:
    """Write a visual tokenizer."""
    _save(folder, "tokenizer", asdict(model.config), model.state_dict())


def load_tokenizer(folder: Path) -> VQTokenizer:
    """Read a visual tokenizer, frozen, in float32. Raises ValueError naming folder and remedy."""
    config = _config(folder, "tokenizer", VQConfig)
    return filled(lambda: VQTokenizer(config), read_state(folder), folder).float()


def save_dem(folder: Path, model: DegradationEstimator) -> None:
    """Write a degradation estimator with its thresholds."""
    _save(folder, "dem", asdict(model.config), model.state_dict())


def load_dem(folder: Path) -> DegradationEstimator:
    """Read a degradation estimator, frozen, in float32. Raises ValueError naming folder and remedy."""
    config = _config(folder, "dem", DemConfig)
    return filled(lambda: DegradationEstimator(config), read_state(folder), folder).float()


def save_rounded(source: Path, out: Path, dtype: torch.dtype) -> None:
    """Write a folder of weights again in `dtype`, half the size of float32 in float16.

    Raises ValueError where a number is too large for it, or what reading and writing raise.
    """
    stored, state = _description(source), read_state(source)
    rounded = {name: item.to(dtype) if item.is_floating_point() else item for name, item in state.items()}
    if wrong := [name for name, item in rounded.items() if not item.isfinite().all()]:
        raise ValueError(f"{source}: {wrong[0]} holds numbers that {dtype} cannot; choose another")
    beside = [path.name for path in source.glob("*.json") if path.name not in ("config.json", INDEX)]
    out.mkdir(parents=True, exist_ok=True)
    for name in beside:
        shutil.copyfile(source / name, out / name)
    _save(out, stored["kind"], stored["config"], rounded, sorted(beside))


def check(folder: Path) -> bool:
    """Whether the files are those that were written: True where their digests agree, False where none were recorded.

    Raises ValueError naming a file that is missing, incomplete or changed.
    """
    recorded: dict[str, str] = _description(folder).get("sha256", {})
    for path in (folder / name for name in sorted({*weight_files(folder), *recorded})):
        if not path.is_file():
            raise ValueError(f"{path} is missing; {AGAIN}")
        if path.suffix == ".safetensors":
            _refuse_incomplete(path)
        if recorded and sha256(path) != recorded.get(path.name):
            raise ValueError(f"{path} is not what was written (its sha256 differs); {AGAIN}")
    return bool(recorded)


def weight_files(folder: Path, remedy: str = AGAIN) -> list[str]:
    """The names of a folder's safetensors files, from its index where it has one. Raises ValueError without any."""
    if (folder / INDEX).is_file():
        return indexed(folder / INDEX, remedy)
    if not (folder / SINGLE).is_file():
        raise ValueError(f"{folder / SINGLE} is missing; {remedy}")
    return [SINGLE]


def indexed(path: Path, remedy: str) -> list[str]:
    """The files that an index names. Raises ValueError where it cannot be read, or one is missing."""
    try:
        names = sorted(
            {Path(name).name for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()}
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no index of weight files ({error}); {remedy}") from error
    if missing := [name for name in names if not (path.parent / name).is_file()]:
        raise ValueError(f"{path.parent} lacks {', '.join(missing)}, which {path.name} names; {remedy}")
    return names


def read_state(folder: Path, remedy: str = AGAIN) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors files, mapped rather than read. Raises ValueError naming the file."""
    state: dict[str, Tensor] = {}
    for path in (folder / name for name in weight_files(folder, remedy)):
        try:
            state |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read ({error}); {remedy}") from error
    return state


def filled(make: Callable[[], Model], state: Mapping[str, Tensor], source: Path) -> Model:
    """The model with a state's tensors as its own, frozen and in evaluation. Raises ValueError where they misfit.

    It is built without memory, so that nothing exists twice.
    """
    with torch.device("meta"):
        model = make()
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{source / SINGLE} does not fit its config.json: {' '.join(str(error).split())}") from error
    assert not any(item.is_meta for item in [*model.parameters(), *model.buffers()]), "a buffer that is not saved"
    return model.requires_grad_(False).eval()


def write_state(folder: Path, state: Mapping[str, Tensor], largest: int | None = None) -> list[str]:
    """Write tensors as one file, or several with an index; returns the names of the safetensors files.

    Files that stood there are replaced only once all new ones are whole. Raises ValueError where it cannot be done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = split_torch_state_dict_into_shards(dict(state), max_shard_size=largest or LARGEST_FILE)
    names = sorted(plan.filename_to_tensors)
    partials = {name: folder / f"{name}.partial" for name in names}
    try:
        for name, partial in partials.items():
            part = {key: state[key].detach().cpu().contiguous() for key in plan.filename_to_tensors[name]}
            save_file(part, partial, metadata={"format": "pt"})
            partial.chmod(0o644)  # safetensors makes it readable to its owner alone
    except (OSError, SafetensorError) as error:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        size = sum(item.numel() * item.element_size() for item in state.values()) / 1e9
        raise ValueError(f"{folder} cannot be written ({error}); make room, {size:.2f} GB are needed") from error
    for name, partial in partials.items():
        partial.replace(folder / name)
    if plan.is_sharded:
        write_json(folder / INDEX, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for old in {path.name for path in folder.glob("model*.safetensors")} - set(names):
        (folder / old).unlink()
    return names


def _save(
    folder: Path,
    kind: str,
    config: dict[str, Any],
    state: Mapping[str, Tensor],
    beside: Iterable[str] = (),
    largest: int | None = None,
) -> None:
    names = [*write_state(folder, state, largest), *beside]
    digests = {name: sha256(folder / name) for name in names}
    write_json(folder / "config.json", {"kind": kind, "config": config, "sha256": digests})


def _description(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {AGAIN}") from error
    return stored


def _config(folder: Path, kind: str, schema: type[Config]) -> Config:
    stored = _description(folder)
    if stored.get("kind") != kind:
        raise ValueError(
            f"{folder / 'config.json'} holds weights of kind {stored.get('kind')!r}, not {kind!r}; check `needs:`"
        )
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), stored["config"]))
    assert isinstance(config, schema)
    return config


def _refuse_incomplete(path: Path) -> None:
    """A safetensors file says in its head how long it is; opening compares."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is incomplete ({error}); {AGAIN}") from error
