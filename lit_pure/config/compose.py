"""Turns an experiment file, its bases, presets and the command line into one checked dataclass.

Knows YAML, inheritance (`base:`), degradation presets, overrides and their order. Knows nothing of the meaning of knobs
(see `families.py`); `mistakes.py` words the errors. Imports no torch, so that a mistake is refused in a fraction of a
second.
"""

import difflib
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_pure.config.data import DegradationConfig
from lit_pure.config.experiment import Experiment
from lit_pure.config.families import FAMILIES
from lit_pure.config.layers import TEST_SETS, Layer, find, flat, nested, source_of, without_sets
from lit_pure.config.mistakes import first_line, type_message, unknown_keys, unknown_message
from lit_pure.config.ranges import violations

PROJECT = Path(__file__).parents[2]
COMMAND_LINE = "command line"
DEGRADATION = "data.degradation"
"""The section of an experiment that a preset sets."""
PRESETS = "data/degradation"
"""The folder of presets: NAME.yaml, a flat table of knobs of `DegradationConfig`."""
NOT_PRESET = ("preset", "scale")
"""Knobs that a preset does not set: its own name, and the scale of the model."""

Settings = TypeVar("Settings")
E = TypeVar("E", bound=Experiment)


class ConfigError(ValueError):
    """A mistake in an experiment file or on the command line; the message has one or two lines, with the remedy."""


def locate(path: str) -> Path:
    """`path` below the working directory if it exists, else below the project (as shipped); absolute paths stay."""
    here = Path(path)
    return here if here.exists() or here.is_absolute() else PROJECT / path


def compose(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment `name` (a path below `experiments/` without .yaml) with `overrides` such as "sampling.k=1".

    A variant of a sweep (see `grid`) is an experiment, too: sweeps/sampling/k_max=10,guidance=0.8.
    Later layers win: bases, then the file itself, then the command line; `base=other` replaces the file's base. The
    values of a preset are directly below the file, or the command line, that names it: other keys there win.
    Interpolations are resolved last. Raises ConfigError with every problem of keys, types or ranges.
    """
    file, chosen = _variant(name, overrides)
    launched = [*(_parse_override(item) for item in overrides), *chosen]
    swap = next((layer.values["base"] for layer in reversed(launched) if "base" in layer.values), None)
    layers = [*_lineage(file, swap), *launched]
    for layer in layers:
        layer.values.pop("sweep", None)
    layers = _with_presets(layers, DEGRADATION)
    experiment = _merge(_family(layers), layers)
    experiment.name = name
    return _checked(experiment, layers)


def compose_as(kind: type[E], name: str, overrides: Sequence[str] = ()) -> E:
    """The same as `compose`, for the family whose root dataclass is `kind`.

    Raises ConfigError as `compose` does, and if the experiment has another family.
    """
    experiment = compose(name, overrides)
    if not isinstance(experiment, kind):
        raise ConfigError(f"{name} is of family {experiment.family}; name one of family {kind.family}")
    return experiment


def override(experiment: E, overrides: Sequence[str]) -> E:
    """A copy with overrides such as "sampling.k=1", checked as `compose` does. Raises ConfigError."""
    settings = OmegaConf.to_container(OmegaConf.structured(experiment))
    assert isinstance(settings, dict)
    own = Layer(experiment.name, {str(key): value for key, value in settings.items()})
    layers = [own, *_with_presets([_parse_override(item) for item in overrides], DEGRADATION)]
    return _checked(_merge(type(experiment), layers), layers)


def degradation(preset: str, overrides: Sequence[str] = ()) -> DegradationConfig:
    """The knobs of a preset with overrides such as "jpeg_range=[50,90]", checked. Raises ConfigError."""
    named = Layer(COMMAND_LINE, {"preset": preset})
    layers = _with_presets([named, *(_parse_override(item, "jpeg_range=[50,90]") for item in overrides)], "")
    return _checked(_merge(DegradationConfig, layers), layers)


def read(schema: type[Settings], path: Path) -> Settings:
    """The dataclass `schema` from a YAML file, checked. Raises ConfigError."""
    layer = Layer(_shown(path), _load(path))
    return _checked(_merge(schema, [layer]), [layer])


def is_sweep(name: str) -> bool:
    """Whether the experiment exists and its file has a `sweep:`."""
    path = locate("experiments") / f"{name}.yaml"
    return path.is_file() and "sweep" in _load(path)


def grid(name: str) -> dict[str, list[str]]:
    """The variants of a file with a `sweep:` of dotted keys to lists: label -> overrides, the product of the lists."""
    path = _experiment_file(name)
    axes = _load(path).get("sweep")
    if not isinstance(axes, dict) or not all(isinstance(values, list) and values for values in axes.values()):
        raise ConfigError(f"{path}: sweep: expected dotted keys with lists, for example sweep: {{sampling.k: [1, 10]}}")
    variants: dict[str, list[str]] = {"": []}
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


def changes(found: Experiment, wanted: Experiment) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ -> (found, wanted), None if one lacks the key; name and base are left out."""
    a, b = (dict(flat(OmegaConf.to_container(OmegaConf.structured(item)), "")) for item in (found, wanted))
    keys = sorted((a.keys() | b.keys()) - {"name", "base"})
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def differences(found: Experiment, wanted: Experiment) -> list[str]:
    """The result of `changes`, each as "key: found -> wanted"."""
    return [f"{key}: {before} -> {after}" for key, (before, after) in changes(found, wanted).items()]


def named_sets(file: str) -> list[str]:
    """Names of the test sets that an experiment's file or one of its bases sets or leaves out. Raises ConfigError."""
    return [name for layer in _lineage(file, None) for name in find(layer.values, TEST_SETS) or {}]


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


def _variant(name: str, overrides: Sequence[str]) -> tuple[str, list[Layer]]:
    """The file of an experiment, and the settings of its variant if it is one of that file's sweep."""
    parts = name.split("/")
    file = next((file for end in range(1, len(parts)) if is_sweep(file := "/".join(parts[:end]))), None)
    if file is None:
        return name, []
    label, variants = name.removeprefix(f"{file}/"), grid(file)
    if label not in variants:
        raise ConfigError(f"{file}.yaml has no variant {label!r}; it has {', '.join(variants)}")
    varied = {item.partition("=")[0] for item in variants[label]}
    if twice := [item for item in overrides if item.partition("=")[0] in varied]:
        raise ConfigError(f"{COMMAND_LINE}: {twice[0]} is what {file}.yaml varies; change its sweep: instead")
    source = _shown(_experiment_file(file))
    return file, [replace(_parse_override(item), source=source) for item in variants[label]]


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
        layers.append(Layer(_shown(path), values))
        current = values.get("base")
    return layers[::-1]


def _parse_override(item: str, example: str = "trainer.max_steps=100") -> Layer:
    key, equals, value = item.partition("=")
    if not equals or not key:
        raise ConfigError(f"{COMMAND_LINE}: {item!r} is not key=value; write for example {example}")
    if not value:
        item = f'{key}=""'  # an empty value is the empty text, not OmegaConf's None, which no knob takes
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


def _with_presets(layers: Sequence[Layer], below: str) -> list[Layer]:
    """The layers with each preset directly below the source that names it; a preset replaces all earlier values.

    `below` is the dotted key of the degradation, or "" if the layers contain nothing else.
    """
    found: list[Layer] = []
    key = f"{below}.preset" if below else "preset"
    for source, group in groupby(layers, key=lambda layer: layer.source):
        own = list(group)
        named = [find(layer.values, key) for layer in own]
        words = [str(name) for name in named if isinstance(name, str | int | float)]  # other types are refused later
        if words:
            path = _preset_file(words[-1], f"{source}: {key}")
            defaults = {knob: value for knob, value in asdict(DegradationConfig()).items() if knob not in NOT_PRESET}
            found += [Layer("default", nested(defaults, below)), _preset(path, below)]
        found += own
    return found


def _preset_file(name: str, asked: str) -> Path:
    path = locate(name if name.endswith((".yaml", ".yml")) else f"{PRESETS}/{name}.yaml")
    if path.is_file():
        return path
    known = sorted({file.stem for root in (Path(), PROJECT) for file in (root / PRESETS).glob("*.yaml")})
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{asked} = {name!r}: no such preset (looked for {path}); {hint}there are {', '.join(known)}, "
        "or give the path of a .yaml file of your own"
    )


def _preset(path: Path, below: str) -> Layer:
    values = _load(path)
    if wrong := [key for key in NOT_PRESET if key in values]:
        raise ConfigError(f"{path}: {wrong[0]} = {values[wrong[0]]!r} is not for a preset to set; take it out")
    return Layer(_shown(path), nested(values, below))


def _shown(path: Path) -> str:
    """The path to show: relative to the working directory if it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _merge(root: type[Settings], layers: Sequence[Layer]) -> Settings:
    for layer in layers:  # names first: checking them is cheap, and most mistakes are in names
        for key in unknown_keys(root, layer.values, ""):
            raise ConfigError(unknown_message(root, layer, key))
    merged = OmegaConf.structured(root)
    for layer in layers:
        left_out = without_sets(layer)
        try:
            # "Unsafe" since it overwrites its target, which is ours; the other merge copies everything each time.
            merged = OmegaConf.unsafe_merge(merged, layer.values)
        except OmegaConfBaseException as error:
            raise ConfigError(type_message(root, layer, error)) from None
        for name in left_out:
            merged.data.test.pop(name, None)
    try:
        settings = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        raise ConfigError(f"{source_of(layers, key)}: {key}: {first_line(error)}") from None
    assert isinstance(settings, root)
    return settings


def _checked(settings: Settings, layers: Sequence[Layer]) -> Settings:
    """The settings themselves. Raises ConfigError with all values out of range and their sources."""
    problems = sorted(set(violations(settings)))
    if problems:
        raise ConfigError("\n".join(f"{source_of(layers, key)}: {key} {problem}" for key, problem in problems))
    return settings
