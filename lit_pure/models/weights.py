"""Weights on disk: safetensors with a config.json beside them.

Knows how to read and write weights of any kind strictly, and how to verify that they are unchanged. Of the kinds that
we publish it knows the tokenizers'; the estimator's is in `degradation/weights.py`, a family's own in its folder. Knows
nothing of training. Reads no pickle.

Large weights become several files with an index, as on Hugging Face. Reading maps the files into memory: the model
takes the tensors without a copy, in the dtype in which they were stored.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from omegaconf import OmegaConf
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.files.atomic import sha256, whole_file, write_json
from lit_pure.files.reading import BROKEN, of_kind, read_json, refusing
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.vq import VQTokenizer

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
LARGEST_FILE = 5_000_000_000
"""Larger weights become several files [byte]."""
REMEDY = "make the run again or name another one"
"""For errors in our own files; foreign files have another remedy."""


def save_tokenizer(folder: Path, model: VQTokenizer) -> None:
    """Write a visual tokenizer."""
    save(folder, "tokenizer", asdict(model.config), model.state_dict())


def load_tokenizer(folder: Path) -> VQTokenizer:
    """Read a visual tokenizer, frozen, in float32. Raises ValueError naming folder and remedy."""
    config = read_config(folder, "tokenizer", VQConfig)
    return load_frozen(lambda: VQTokenizer(config), read_state(folder), folder).float()


def save_bit_tokenizer(folder: Path, model: BitTokenizer) -> None:
    """Write a bitwise tokenizer."""
    save(folder, "bit_tokenizer", asdict(model.config), model.state_dict())


def load_bit_tokenizer(folder: Path) -> BitTokenizer:
    """Read a bitwise tokenizer, frozen, in float32. Raises ValueError naming folder and remedy."""
    config = read_config(folder, "bit_tokenizer", BitTokenizerConfig)
    return load_frozen(lambda: BitTokenizer(config), read_state(folder), folder).float()


def save_rounded(source: Path, out: Path, dtype: torch.dtype, other: Path | None = None, share: float = 0.0) -> None:
    """Copy a folder of weights, cast to `dtype`; float16 takes half the size of float32.

    Args:
        source: folder of the weights.
        out: folder to write to.
        dtype: of the floating-point numbers.
        other: weights of the same sizes, to take the mean with (network interpolation, arXiv 1809.00219, section 3.4).
        share: of the other ones, in [0, 1].

    Raises:
        ValueError: a number is too large for `dtype`, sizes differ, or reading or writing fails.
    """
    stored, state = _description(source), read_state(source)
    if other is not None:
        state = _blended(state, read_state(other), share, f"{other} and {source}")
    rounded = {name: item.to(dtype) if item.is_floating_point() else item for name, item in state.items()}
    if wrong := [name for name, item in rounded.items() if not item.isfinite().all()]:
        raise ValueError(f"{source}: {wrong[0]} has numbers too large for {dtype}; choose another dtype")
    beside = [path.name for path in source.glob("*.json") if path.name not in ("config.json", INDEX)]
    out.mkdir(parents=True, exist_ok=True)
    for name in beside:
        shutil.copyfile(source / name, out / name)
    save(out, stored["kind"], stored["config"], rounded, sorted(beside))


def _blended(state: dict[str, Tensor], other: dict[str, Tensor], share: float, which: str) -> dict[str, Tensor]:
    """The mean of two states in float32, `share` of the second one. Raises ValueError where they differ in size."""
    sizes = [{name: tuple(item.shape) for name, item in one.items()} for one in (state, other)]
    if differing := sorted(
        name for name in sizes[0].keys() | sizes[1].keys() if sizes[0].get(name) != sizes[1].get(name)
    ):
        raise ValueError(f"{which} cannot be blended: {differing[0]} has another size; take runs of one architecture")
    return {
        name: torch.lerp(item.float(), other[name].float(), share) if item.is_floating_point() else item
        for name, item in state.items()
    }


def verify(folder: Path) -> bool:
    """Compare the files with their recorded digests: True if they agree, False if no digests were recorded.

    Raises ValueError naming a file that is missing, incomplete or changed.
    """
    with refusing(folder / "config.json", REMEDY):
        recorded: dict[str, str] = of_kind(_description(folder).get("sha256", {}), dict)
    for path in (folder / name for name in sorted({*weight_files(folder), *recorded})):
        if not path.is_file():
            raise ValueError(f"{path} is missing; {REMEDY}")
        if path.suffix == ".safetensors":
            _refuse_incomplete(path)
        if recorded and sha256(path) != recorded.get(path.name):
            raise ValueError(f"{path} is not what was written (its sha256 differs); {REMEDY}")
    return bool(recorded)


def weight_files(folder: Path, remedy: str = REMEDY) -> list[str]:
    """The names of a folder's safetensors files, from its index if it has one. Raises ValueError if there are none."""
    if (folder / INDEX).is_file():
        return files_in_index(folder / INDEX, remedy)
    if not (folder / SINGLE).is_file():
        raise ValueError(f"{folder / SINGLE} is missing; {remedy}")
    return [SINGLE]


def files_in_index(path: Path, remedy: str) -> list[str]:
    """The files that an index names. Raises ValueError where it cannot be read or a file is missing."""
    try:
        names = sorted(
            {Path(name).name for name in json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()}
        )
    except BROKEN as error:
        raise ValueError(f"{path} is not an index of weight files ({error}); {remedy}") from error
    if missing := [name for name in names if not (path.parent / name).is_file()]:
        raise ValueError(f"{path.parent} lacks {', '.join(missing)}, which {path.name} names; {remedy}")
    return names


def read_state(folder: Path, remedy: str = REMEDY) -> dict[str, Tensor]:
    """All tensors of a folder's safetensors files, mapped into memory. Raises ValueError naming the file."""
    state: dict[str, Tensor] = {}
    for path in (folder / name for name in weight_files(folder, remedy)):
        try:
            state |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read ({error}); {remedy}") from error
    return state


def load_frozen(make: Callable[[], Model], state: Mapping[str, Tensor], source: Path) -> Model:
    """A model whose tensors are those of `state`, frozen and in evaluation mode. Raises ValueError if they do not fit.

    It is built on the meta device, so that no tensor exists twice.
    """
    with torch.device("meta"):
        model = make()
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{source / SINGLE} does not fit its config.json: {' '.join(str(error).split())}") from error
    assert not any(item.is_meta for item in [*model.parameters(), *model.buffers()]), "a buffer that state dicts lack"
    return model.requires_grad_(False).eval()


def write_state(folder: Path, state: Mapping[str, Tensor], largest: int | None = None) -> list[str]:
    """Write tensors as one file, or several with an index; returns the names of the safetensors files.

    Existing files are replaced only once all new ones are complete. Raises ValueError where that fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = split_torch_state_dict_into_shards(dict(state), max_shard_size=largest or LARGEST_FILE)
    names = sorted(plan.filename_to_tensors)
    try:
        with ExitStack() as files:
            for name in names:
                # One name for all processes: the next attempt overwrites what a killed one left, which may be large.
                partial = files.enter_context(whole_file(folder / name, folder / f"{name}.partial"))
                part = {key: state[key].detach().cpu().contiguous() for key in plan.filename_to_tensors[name]}
                save_file(part, partial, metadata={"format": "pt"})
                partial.chmod(0o644)  # safetensors lets only the owner read it
    except (OSError, SafetensorError) as error:
        size = sum(item.numel() * item.element_size() for item in state.values()) / 1e9
        raise ValueError(f"{folder} cannot be written ({error}); make room, {size:.2f} GB are needed") from error
    if plan.is_sharded:
        write_json(folder / INDEX, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for old in {path.name for path in folder.glob("model*.safetensors")} - set(names):
        (folder / old).unlink()
    return names


def save(
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
    return read_json(folder / "config.json", REMEDY)


def read_config(folder: Path, kind: str, schema: type[Config]) -> Config:
    stored = _description(folder)
    if stored.get("kind") != kind:
        raise ValueError(
            f"{folder / 'config.json'} holds weights of kind {stored.get('kind')!r}, not {kind!r}; check `needs:`"
        )
    with refusing(folder / "config.json", REMEDY):
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), of_kind(stored["config"], dict)))
        assert isinstance(config, schema)
        return config


def _refuse_incomplete(path: Path) -> None:
    """Open a safetensors file, which compares its length with the one in its header."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is incomplete ({error}); {REMEDY}") from error
