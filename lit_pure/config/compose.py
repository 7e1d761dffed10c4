"""Turns an experiment file, its bases and the command line into one checked dataclass.

Knows YAML, inheritance (`base:`), overrides and how to say what is wrong. Knows nothing of what a knob means (see
`schema.py`), imports no torch, and so refuses a mistake in a fraction of a second.
"""

import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_pure.config.ranges import violations
from lit_pure.config.schema import FAMILIES, Experiment

PROJECT = Path(__file__).parents[2]
COMMAND_LINE = "command line"


class ConfigError(ValueError):
    """A mistake in an experiment file or on the command line, told in one or two lines with its remedy."""


@dataclass(frozen=True)
class Layer:
    """One source of settings: an experiment file, or one override."""

    source: str
    values: dict[str, Any]


def locate(path: str) -> Path:
    """`path` below the working directory if it is there, else below the project (as shipped); absolute paths stay."""
    here = Path(path)
    return here if here.exists() or here.is_absolute() else PROJECT / path


def compose(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment `name` (a path below `experiments/` without .yaml) with `overrides` such as "sampling.k=1".

    Bases come first, then the file itself, then the command line; `base=other` swaps the file's own base.
    Interpolations are resolved last. Raises ConfigError with every problem of keys, types or ranges found.
    """
    command_line = [_parse_override(item) for item in overrides]
    swap = next((layer.values["base"] for layer in reversed(command_line) if "base" in layer.values), None)
    layers = [*_lineage(name, swap), *command_line]
    for layer in layers:
        layer.values.pop("sweep", None)
    experiment = _merge(_family(layers), layers)
    experiment.name = name
    return _checked(experiment, layers)


def override(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """A copy with overrides such as "sampling.k=1" laid over it, checked as `compose` does. Raises ConfigError."""
    settings = OmegaConf.to_container(OmegaConf.structured(experiment))
    assert isinstance(settings, dict)
    own = Layer(experiment.name, {str(key): value for key, value in settings.items()})
    layers = [own, *(_parse_override(item) for item in overrides)]
    return _checked(_merge(type(experiment), layers), layers)


def grid(name: str, overrides: Sequence[str] = ()) -> dict[str, list[str]]:
    """The variants of a file with a `sweep:` of dotted keys to lists: label -> overrides, the product of the lists."""
    path = _experiment_file(name)
    axes = _load(path).get("sweep")
    if not isinstance(axes, dict) or not all(isinstance(values, list) and values for values in axes.values()):
        raise ConfigError(f"{path}: sweep: expected dotted keys with lists, for example sweep: {{sampling.k: [1, 10]}}")
    variants: dict[str, list[str]] = {"": list(overrides)}
    for key, values in axes.items():
        short = str(key).rpartition(".")[2]
        variants = {
            f"{label},{short}={value}".lstrip(","): [*items, f"{key}={value}"]
            for label, items in variants.items()
            for value in values
        }
    return variants


def save(experiment: Experiment, path: Path) -> None:
    """Write the resolved experiment as YAML that `load` reads back to an equal object."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.structured(experiment)), encoding="utf-8")


def load(path: Path) -> Experiment:
    """Read a resolved experiment that `save` wrote. Raises ConfigError."""
    layer = Layer(str(path), _load(path))
    return _merge(_family([layer]), [layer])


def differences(found: Experiment, wanted: Experiment) -> list[str]:
    """Dotted keys whose values differ, as "key: found -> wanted"; the name is left out."""
    a, b = (dict(_flat(OmegaConf.to_container(OmegaConf.structured(item)), "")) for item in (found, wanted))
    keys = sorted((a.keys() | b.keys()) - {"name", "base"})
    return [f"{key}: {a.get(key)} -> {b.get(key)}" for key in keys if a.get(key) != b.get(key)]


def experiment_names() -> list[str]:
    """All experiments below `experiments/`, bases and sweeps included."""
    root = locate("experiments")
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.yaml"))


def _experiment_file(name: str) -> Path:
    path = locate("experiments") / f"{name.removesuffix('.yaml')}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(name, experiment_names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(experiment_names())}"
        raise ConfigError(f"no experiment {name!r} (looked for {path}); {hint}")
    return path


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected keys and values, found a list")
    return {str(key): value for key, value in loaded.items()}


def _lineage(name: str, swap: str | None) -> list[Layer]:
    """The files from the root of the inheritance down to `name`."""
    layers: list[Layer] = []
    seen: list[str] = []
    current: str | None = name
    while current:
        if current in seen:
            raise ConfigError(f"experiments/{name}.yaml: base goes in a circle: {' -> '.join([*seen, current])}")
        seen.append(current)
        path = _experiment_file(current)
        values = _load(path)
        if current == name and swap is not None:
            values["base"] = swap
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        layers.append(Layer(str(shown), values))
        current = values.get("base")
    return layers[::-1]


def _parse_override(item: str) -> Layer:
    key, equals, _ = item.partition("=")
    if not equals or not key:
        raise ConfigError(f"{COMMAND_LINE}: {item!r} is not key=value; write for example trainer.max_steps=100")
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist([item]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{COMMAND_LINE}: {item!r} cannot be read: {' '.join(str(error).split())}") from None
    assert isinstance(values, dict)
    return Layer(COMMAND_LINE, {str(name): value for name, value in values.items()})


def _family(layers: Sequence[Layer]) -> type[Experiment]:
    named = [(layer.source, layer.values["family"]) for layer in layers if "family" in layer.values]
    source, family = named[0] if named else ("default", "pure")
    for other_source, other in named[1:]:
        if other != family:
            raise ConfigError(
                f"{other_source}: family {other!r} differs from {family!r} in {source}; choose a base of it"
            )
    if family not in FAMILIES:
        raise ConfigError(f"{source}: family {family!r} does not exist; there are {', '.join(FAMILIES)}")
    return FAMILIES[family]


def _merge(root: type[Experiment], layers: Sequence[Layer]) -> Experiment:
    merged = OmegaConf.structured(root)
    for layer in layers:
        for key in _unknown_keys(root, layer.values, ""):
            raise ConfigError(_unknown_message(root, layer, key))
        try:
            merged = OmegaConf.merge(merged, layer.values)
        except OmegaConfBaseException as error:
            raise ConfigError(_type_message(root, layer, error)) from None
    try:
        experiment = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        raise ConfigError(f"{_source_of(layers, key)}: {key}: {_first_line(error)}") from None
    assert isinstance(experiment, Experiment)
    return experiment


def _checked(experiment: Experiment, layers: Sequence[Layer]) -> Experiment:
    """The experiment itself. Raises ConfigError with all its values out of range and who set them."""
    problems = sorted(set(violations(experiment)))
    if problems:
        raise ConfigError("\n".join(f"{_source_of(layers, key)}: {key} {problem}" for key, problem in problems))
    return experiment


def _unknown_keys(schema: Any, values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    hints = typing.get_type_hints(schema)
    names = {item.name for item in fields(schema)}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if key not in names:
            yield dotted
            continue
        hint = hints[key]
        if is_dataclass(hint) and isinstance(value, dict):
            yield from _unknown_keys(hint, value, f"{dotted}.")
        elif typing.get_origin(hint) is dict and isinstance(value, dict):
            for name, entry in value.items():
                if isinstance(entry, dict):
                    yield from _unknown_keys(typing.get_args(hint)[1], entry, f"{dotted}.{name}.")


def _legal_keys(schema: Any, prefix: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(schema).items():
        if name in {item.name for item in fields(schema)}:
            yield f"{prefix}{name}"
            if is_dataclass(hint):
                yield from _legal_keys(hint, f"{prefix}{name}.")


def _unknown_message(root: type[Experiment], layer: Layer, key: str) -> str:
    legal = list(_legal_keys(root, ""))
    near = difflib.get_close_matches(key, legal, n=1, cutoff=0.6)
    parent = key.rpartition(".")[0]
    siblings = [name for name in legal if name.rpartition(".")[0] == parent] or legal
    hint = f"did you mean {near[0]}?" if near else f"legal here: {', '.join(siblings)}"
    return f"{layer.source}: no key {key} (value {_find(layer.values, key)!r}) in family {root().family}; {hint}"


def _type_message(root: type[Experiment], layer: Layer, error: OmegaConfBaseException) -> str:
    key = error.full_key or _culprit(root, layer)
    default = OmegaConf.select(OmegaConf.structured(root), key)
    hint = "" if OmegaConf.is_config(default) and not OmegaConf.is_list(default) else f"; the default is {default}"
    return f"{layer.source}: {key} = {_find(layer.values, key)!r}: {_first_line(error)}{hint}"


def _culprit(root: type[Experiment], layer: Layer) -> str:
    """The first key of a layer that does not merge by itself: OmegaConf does not always name it."""
    for key, value in _flat(layer.values, ""):
        try:
            OmegaConf.update(OmegaConf.structured(root), key, value)
        except OmegaConfBaseException:
            return key
    return next(iter(layer.values))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _find(values: Any, dotted: str) -> Any:
    """The value at a dotted key, or None."""
    for part in dotted.replace("[", ".").replace("]", "").split("."):
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


def _source_of(layers: Sequence[Layer], key: str) -> str:
    """Who set `key` last."""
    for layer in reversed(layers):
        if _find(layer.values, key) is not None:
            return layer.source
    return "default"


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from _flat(entry, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
