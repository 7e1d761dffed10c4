"""Turns an experiment file, its bases, presets and the command line into one checked dataclass.

Knows inheritance (`base:`), files laid over others (`mixin:`), degradation presets, overrides, sweeps and their order.
Knows nothing of the meaning of knobs (`families.py`), of files (`library.py`) and of merging (`merge.py`);
`mistakes.py` words the errors. Imports no torch, so that a mistake is refused in a fraction of a second.
"""

import difflib
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf

from lit_pure.config import library, variants
from lit_pure.config.data import DegradationConfig
from lit_pure.config.experiment import Experiment
from lit_pure.config.families import FAMILIES
from lit_pure.config.layers import TEST_SETS, Layer, find, flat, nested
from lit_pure.config.library import ExperimentFile, load_keys
from lit_pure.config.merge import checked, fit, merge
from lit_pure.config.mistakes import ConfigError as ConfigError  # who composes needs it
from lit_pure.config.mixins import mixed_in, mixed_in_last, mixin_values
from lit_pure.config.project import PROJECT as PROJECT
from lit_pure.config.project import ROOTS, names_in
from lit_pure.config.project import locate as locate
from lit_pure.config.search import SearchConfig, check_space, read_search
from lit_pure.config.typed import Argument, text_of
from lit_pure.files.yaml12 import resolved

COMMAND_LINE = "command line"
DEGRADATION = "data.degradation"
"""The section of an experiment that a preset sets."""
PRESETS = "data/degradation"
"""The folder of presets: NAME.yaml, a flat table of knobs of `DegradationConfig`."""
NOT_PRESET = ("preset", "scale")
"""Knobs that a preset does not set: its own name, and the scale of the model."""

Settings = TypeVar("Settings")
E = TypeVar("E", bound=Experiment)


def compose(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment `name` (a path below `experiments/`, or of any file) with `overrides` such as "sampling.k=1".

    A run's config.yaml is the experiment of that run. A variant of a sweep (see `grid`), or one that a search may
    choose (see `search_of`), is an experiment, too: sweeps/sampling/k_max=10,guidance=0.8.
    Later layers win: bases, then the file itself, then the command line; `base=other` replaces the file's base. What a
    file mixes in comes directly after it, and what the command line mixes in (`mixin=debug/fast`) after all files. The
    values of a preset are directly below the file, or the command line, that names it: other keys there win.
    Interpolations are resolved last. Raises ConfigError with every problem of keys, types or ranges.
    """
    file, label, launched, swap = _asked(name, overrides)
    layers = [*_lineage(file, swap, mixed_in_last(launched, ROOTS)).values(), *launched]
    for layer in layers:
        for key in library.VARY:
            layer.values.pop(key, None)
    root = _family(layers)
    layers = _with_presets(fit(root, layers), DEGRADATION)
    experiment = merge(root, layers)
    experiment.name = f"{file.name}{label}"
    return checked(experiment, layers)


def files_of(name: str, overrides: Sequence[str] = ()) -> list[Path]:
    """The files that `compose` reads an experiment from: its own, and its bases. Raises ConfigError."""
    file, _, launched, swap = _asked(name, overrides)
    return list(_lineage(file, swap, mixed_in_last(launched, ROOTS)))


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
    own = Layer(experiment.name, plain(experiment))
    root = type(experiment)
    layers = [own, *_with_presets(fit(root, [_parse_override(item) for item in overrides]), DEGRADATION)]
    return checked(merge(root, layers), layers)


def degradation(preset: str, overrides: Sequence[str] = ()) -> DegradationConfig:
    """The knobs of a preset with overrides such as "jpeg_range=[50,90]", checked. Raises ConfigError."""
    given = [_parse_override(item, "jpeg_range=[50,90]") for item in overrides]
    layers = _with_presets([Layer(COMMAND_LINE, {"preset": preset}), *fit(DegradationConfig, given)], "")
    return checked(merge(DegradationConfig, layers), layers)


def read(schema: type[Settings], path: Path) -> Settings:
    """The dataclass `schema` from a YAML file, checked. Raises ConfigError."""
    layers = fit(schema, [Layer(_shown(path), load_keys(path, undot=False))])
    return checked(merge(schema, layers), layers)


def is_sweep(name: str) -> bool:
    """Whether the experiment exists and its file has a `sweep:`."""
    return _varies(name) == library.SWEEP


def is_search(name: str) -> bool:
    """Whether the experiment exists and its file has a `search:`."""
    return _varies(name) == library.SEARCH


def grid(name: str) -> dict[str, list[str]]:
    """The variants of a file with a `sweep:` of dotted keys to lists: label -> overrides, the product of the lists."""
    path = library.require_file(name, ROOTS).path
    return variants.product(load_keys(path).get(library.SWEEP), path)


def search_of(name: str, overrides: Sequence[str] = ()) -> SearchConfig:
    """What a file's `search:` asks for, checked against the knobs of its family. Raises ConfigError."""
    asked, root, source = _search(name, overrides)
    check_space(asked, root, source)
    return asked


def save(experiment: Experiment, path: Path) -> None:
    """Write the resolved experiment as YAML that `load` reads back to an equal object."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.structured(experiment)), encoding="utf-8")


def load(path: Path) -> Experiment:
    """Read a resolved experiment that `save` wrote. Raises ConfigError."""
    return from_plain(load_keys(path), str(path))


def plain(experiment: Experiment) -> dict[str, Any]:
    """An experiment as nested dictionaries and lists of numbers and words, which `from_plain` reads back."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(experiment)))


def from_plain(settings: dict[str, Any], source: str) -> Experiment:
    """The experiment that `plain` took apart; `source` names it in errors. Raises ConfigError."""
    layer = Layer(source, settings)
    root = _family([layer])
    return merge(root, fit(root, [layer]))


def changes(found: Experiment, wanted: Experiment) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ -> (found, wanted), None if one lacks the key; without name, base and mixin."""
    a, b = (dict(flat(plain(item), "")) for item in (found, wanted))
    keys = sorted((a.keys() | b.keys()) - {"name", "base", "mixin"})
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def differences(found: Experiment, wanted: Experiment) -> list[str]:
    """The result of `changes`, each as "key: found -> wanted"."""
    return [f"{key}: {before} -> {after}" for key, (before, after) in changes(found, wanted).items()]


def named_sets(file: str) -> list[str]:
    """Names of the test sets that an experiment's file or one of its bases sets or leaves out. Raises ConfigError."""
    layers = list(_lineage(library.require_file(file, ROOTS), None).values())
    return [name for layer in fit(_family(layers), layers) for name in find(layer.values, TEST_SETS) or {}]


def experiment_names() -> list[str]:
    """All experiments below `experiments/`, the user's and the project's, bases and sweeps included."""
    return library.experiment_names(ROOTS)


def _varies(name: str) -> str:
    file = library.find_file(name, ROOTS)
    return library.varies(file.path) if file else ""


def _search(name: str, overrides: Sequence[str]) -> tuple[SearchConfig, type[Experiment], str]:
    """What a file's `search:` says, the family whose knobs it names, and the file as it is shown."""
    file, launched = library.require_file(name, ROOTS), [_with_base(_parse_override(item)) for item in overrides]
    root, source = _family([*_lineage(file, _swap(launched)).values(), *launched]), _shown(file.path)
    return read_search(load_keys(file.path).get(library.SEARCH), root, source), root, source


def _asked(name: str, overrides: Sequence[str]) -> tuple[ExperimentFile, str, list[Layer], str | None]:
    """The file of an experiment, the label of its variant, what is set above files, and the base that is set there."""
    file, label, chosen = _variant(name, overrides)
    launched = [_with_base(layer) for layer in (*(_parse_override(item) for item in overrides), *chosen)]
    return file, label, launched, _swap(launched)


def _swap(launched: Sequence[Layer]) -> str | None:
    return next((layer.values["base"] for layer in reversed(launched) if "base" in layer.values), None)


def _variant(name: str, overrides: Sequence[str]) -> tuple[ExperimentFile, str, list[Layer]]:
    """The file of an experiment; "/" and the label of its variant, with its settings, if it is one of a sweep."""
    parts = name.split("/")
    head = next((head for end in range(1, len(parts)) if _varies(head := "/".join(parts[:end]))), None)
    if head is None:
        return library.require_file(name, ROOTS), "", []
    label, file = name.removeprefix(f"{head}/"), library.require_file(head, ROOTS)
    kind = _varies(head)
    chosen = (
        _search(head, overrides)[0].settings(label)
        if kind == library.SEARCH
        else variants.choose(grid(head), label, file)
    )
    varied = {item.partition("=")[0] for item in chosen}
    if twice := [item for item in overrides if item.partition("=")[0] in varied]:
        raise ConfigError(f"{COMMAND_LINE}: {twice[0]} is what {file.name}.yaml varies; change its {kind}: instead")
    return file, f"/{label}", [replace(_parse_override(item), source=_shown(file.path)) for item in chosen]


def _with_base(layer: Layer) -> Layer:
    """The layer with the name of its base, which may be given by a path. Raises ConfigError where there is none."""
    if "base" not in layer.values:
        return layer
    base = text_of(layer.values["base"])
    if not isinstance(base, str):
        raise ConfigError(f"{layer.source}: base = {resolved(base)!r}: name one experiment, for example pure/nano")
    return replace(layer, values={**layer.values, "base": base and library.require_file(base, ROOTS).name})


def _lineage(file: ExperimentFile, swap: str | None, last: Sequence[ExperimentFile] = ()) -> dict[Path, Layer]:
    """The files from the root of the inheritance down to `file`, with what they set: each before what it mixes in, and
    those of `last` at the end.
    """
    layers = {mixin.path: Layer(_shown(mixin.path), mixin_values(mixin)) for mixin in reversed(last)}
    seen: list[str] = []
    current: ExperimentFile | None = file
    while current:
        if current.name in seen:
            circle = " -> ".join([*seen, current.name])
            raise ConfigError(f"{_shown(file.path)}: base goes in a circle: {circle}")
        seen.append(current.name)
        layer = Layer(_shown(current.path), load_keys(current.path))
        if current == file and swap is not None:
            layer.values["base"] = swap
        elif not current.complete:
            layer = _with_base(layer)
        for mixin in reversed([] if current.complete else mixed_in(layer, ROOTS)):
            layers.setdefault(mixin.path, Layer(_shown(mixin.path), mixin_values(mixin)))
        layers[current.path] = layer
        base = layer.values.get("base")
        current = library.require_file(base, ROOTS) if base and not (current.complete and swap is None) else None
    return dict(reversed(layers.items()))


def _parse_override(item: str, example: str = "trainer.max_steps=100") -> Layer:
    key, equals, value = item.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{COMMAND_LINE}: {item!r} is not key=value; write for example {example}")
    return Layer(COMMAND_LINE, nested({key.rpartition(".")[2]: Argument(value)}, key.rpartition(".")[0]))


def _family(layers: Sequence[Layer]) -> type[Experiment]:
    named = [(layer.source, text_of(layer.values["family"])) for layer in layers if "family" in layer.values]
    source, family = named[0] if named else ("default", "pure")
    for other_source, other in named[1:]:
        if other != family:
            raise ConfigError(
                f"{other_source}: family {other!r} differs from {family!r} in {source}; choose a base of it"
            )
    if not isinstance(family, str) or family not in FAMILIES:
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
    known = names_in(PRESETS)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{asked} = {name!r}: no such preset (looked for {path}); {hint}there are {', '.join(known)}, "
        "or give the path of a .yaml file of your own"
    )


def _preset(path: Path, below: str) -> Layer:
    values = load_keys(path)
    if wrong := [key for key in NOT_PRESET if key in values]:
        raise ConfigError(
            f"{path}: {wrong[0]} = {resolved(values[wrong[0]])!r} is not for a preset to set; take it out"
        )
    [layer] = fit(DegradationConfig, [Layer(_shown(path), values)])
    return replace(layer, values=nested(layer.values, below))


def _shown(path: Path) -> str:
    """The path to show: relative to the working directory if it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
