"""The variants that an experiment's `sweep:` stands for, and how a varied value is written in a name.

Knows dotted keys with lists. Knows nothing of experiments (`compose.py`); what a `search:` may choose is in
`search.py`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_pure.config.annotated import text
from lit_pure.config.families import FAMILIES
from lit_pure.config.library import ExperimentFile
from lit_pure.config.mistakes import ConfigError
from lit_pure.config.typed import Argument, Unfit, fitted, hint_at, text_of
from lit_pure.files.yaml12 import resolved


def product(axes: Any, path: Path) -> dict[str, list[str]]:
    """Label -> overrides, for each combination of the values of a `sweep:`. Raises ConfigError that names the file."""
    if not isinstance(axes, dict) or not all(isinstance(values, list) and values for values in axes.values()):
        raise ConfigError(f"{path}: sweep: expected dotted keys with lists, for example sweep: {{sampling.k: [1, 10]}}")
    found: dict[str, list[str]] = {"": []}
    for key, values in axes.items():
        short = key.rpartition(".")[2]
        found = {
            f"{label},{short}={shown}".lstrip(","): [*items, f"{key}={written}"]
            for label, items in found.items()
            for shown, written in (written_value(key, value, f"{path}: sweep") for value in values)
        }
    return found


def choose(variants: Mapping[str, list[str]], label: str, file: ExperimentFile) -> Sequence[str]:
    """The overrides of one variant. Raises ConfigError with those that there are."""
    if label not in variants:
        raise ConfigError(f"{file.name}.yaml has no variant {label!r}; it has {', '.join(variants)}")
    return variants[label]


def written_value(key: str, value: Any, source: str) -> tuple[str, str]:
    """A value as it is shown in a variant's name, and as the command line writes it. Raises ConfigError."""
    hint = next((found for root in FAMILIES.values() if (found := hint_at(root, key))), None)
    try:
        found = fitted(hint, value, key)
    except Unfit as error:
        raise ConfigError(f"{source}: {key} = {error.value}: {error}") from None
    if isinstance(found, str):
        return found, found if text_of(Argument(found)) == found else json.dumps(found)
    plain = found if isinstance(found, list) and any(isinstance(item, str) for item in found) else resolved(value)
    return str(plain), text(plain)
