"""What an experiment's `search:` asks for: how many trials, what is to be minimized, from where knobs take values.

Knows distributions, their legal ranges, and how a trial's values are written in its name and read back from it. Knows
nothing of who chooses values (the room `search`), nor of where files are.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from lit_pure.config.knobs import knob
from lit_pure.config.layers import Layer, nested
from lit_pure.config.merge import fit, merge
from lit_pure.config.mistakes import ConfigError
from lit_pure.config.ranges import outside
from lit_pure.config.typed import Argument, Unfit, fitted, hint_at
from lit_pure.config.variants import written_value

Kind = Literal["float", "log", "int", "choice"]
MEANINGS: Mapping[Kind, str] = {
    "float": "[LOW, HIGH]: equal differences are equally likely.",
    "log": "[LOW, HIGH], above 0: equal ratios are equally likely.",
    "int": "[LOW, HIGH]: whole numbers, both ends included.",
    "choice": "A list of values.",
}
"""How an axis may take values."""
Value = float | int | str
EXAMPLE = "search: {trials: 30, space: {optim.lr: {log: [1e-5, 1e-2]}}}"
VALIDATED = "val/"
"""Begins the names of what a training validates; other metrics are known once a run is finished."""
DIGITS = 4
"""Significant digits of a value, where its range is not narrower than they can tell apart."""
_NUMBER = r"[-+]?\d[\d.]*(?:e[-+]?\d+)?"


@dataclass(frozen=True)
class Axis:
    """Where one knob takes its values from."""

    key: str
    """Dotted."""
    name: str
    """In a trial's name."""
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    """Whether values are whole numbers."""
    choices: Mapping[str, str] | None = None
    """As shown in a name -> as the command line writes it."""

    @property
    def log(self) -> bool:
        """Whether equal ratios are equally likely, rather than equal differences."""
        return self.kind == "log"

    def shown(self, value: Value) -> str:
        """A value as in a trial's name, rounded; a number stays within its range."""
        if self.choices is not None or self.whole:
            return str(value)
        span = (self.high - self.low) / max(abs(self.low), abs(self.high))
        digits = min(DIGITS - min(0, math.ceil(math.log10(span))), 17)
        rounded = f"{value:.{digits}g}"
        if self.low <= float(rounded) <= self.high:
            return rounded
        return repr(self.low if float(rounded) < self.low else self.high)

    def written(self, shown: str) -> str:
        """What is shown in a name, as the command line writes it. Raises ConfigError for what is not in the range."""
        if self.choices is not None:
            return self.choices[shown]
        if not self.low <= float(shown) <= self.high:
            raise ConfigError(f"{self.name}={shown} is not in {self.words}")
        return shown

    @property
    def pattern(self) -> str:
        """A regular expression of its values in names."""
        if self.choices is not None:
            return "|".join(re.escape(shown) for shown in sorted(self.choices, key=len, reverse=True))
        return r"[-+]?\d+" if self.whole else _NUMBER

    @property
    def words(self) -> str:
        """The distribution in words."""
        if self.choices is not None:
            return f"one of {', '.join(self.choices)}"
        return f"{self.low:.12g} to {self.high:.12g}{' (log)' if self.log else ''}"


@dataclass(frozen=True)
class SearchConfig:
    """A search for the values of knobs."""

    space: tuple[Axis, ...]
    trials: int = knob(30, low=1)
    """How many trials are to be finished or pruned."""
    metric: str = "val/loss"
    """A column of a run's curves, whose last value counts, or a figure of its summary, such as test/demo/psnr."""
    direction: Literal["minimize", "maximize"] = "minimize"
    seed: int = knob(0, low=0)
    """Of the sampler."""
    prune: bool = True
    """Whether a trial ends at a validation at which it is worse than the median of those before."""

    @property
    def prunes(self) -> bool:
        """Whether trials are pruned: only by what is validated while they train."""
        return self.prune and self.metric.startswith(VALIDATED)

    def label(self, values: Mapping[str, Value]) -> str:
        """The name of a trial with these values, by dotted key."""
        return ",".join(f"{axis.name}={axis.shown(values[axis.key])}" for axis in self.space)

    def settings(self, label: str) -> Sequence[str]:
        """The overrides of the trial with a name. Raises ConfigError for a name that no trial can have."""
        found = re.fullmatch(",".join(f"{re.escape(axis.name)}=({axis.pattern})" for axis in self.space), label)
        try:
            if found is None:
                raise ConfigError("write " + ",".join(f"{axis.name}=..." for axis in self.space))
            pairs = zip(self.space, found.groups(), strict=True)
            return [f"{axis.key}={axis.written(shown)}" for axis, shown in pairs]
        except ConfigError as error:
            words = "; ".join(f"{axis.name}: {axis.words}" for axis in self.space)
            raise ConfigError(f"{label!r} is no trial of this search: {error}; it chooses {words}") from None


def read_search(given: Any, root: type, source: str) -> SearchConfig:
    """What a file's `search:` says, of knobs of the dataclass `root`, whose ranges `check_space` knows.

    Raises ConfigError that names the file, the key and the remedy.
    """
    where = f"{source}: search"
    legal = [item.name for item in fields(SearchConfig)]
    if not isinstance(given, dict) or not isinstance(given.get("space"), dict) or not given["space"]:
        raise ConfigError(f"{where}: expected trials and a space of dotted keys, for example {EXAMPLE}")
    if unknown := [key for key in given if key not in legal]:
        raise ConfigError(f"{where}: no key {unknown[0]}; legal here: {', '.join(legal)}")
    names = _names(list(given["space"]))
    space = tuple(_axis(key, names[key], value, root, f"{where}.space") for key, value in given["space"].items())
    plain = {key: _plain(key, value, where) for key, value in given.items() if key != "space"}
    found = SearchConfig(space, **plain)
    for key in ("trials", "seed"):
        for problem in outside(found, key):
            raise ConfigError(f"{where}: {key} {problem}")
    if plain.get("prune") and not found.prunes:
        raise ConfigError(f"{where}: prune needs a metric of validations, and {found.metric} is none; take val/loss")
    return found


def _names(keys: Sequence[str]) -> dict[str, str]:
    """Keys without their sections, where that leaves them different."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: key if last.count(short) > 1 else short for key, short in zip(keys, last, strict=True)}


def _plain(key: str, value: Any, where: str) -> Any:
    hint: Any = {"trials": int, "seed": int, "prune": bool}.get(key, str)
    try:
        found = fitted(hint, value, key)
    except Unfit as error:
        raise ConfigError(f"{where}: {key} = {error.value}: {error}") from None
    if key == "direction" and found not in ("minimize", "maximize"):
        raise ConfigError(f"{where}: direction = {found}: take minimize or maximize")
    if not isinstance(found, hint):
        raise ConfigError(f"{where}: {key} = {found!r} is no {hint.__name__}")
    return found


def _axis(key: str, name: str, given: Any, root: type, where: str) -> Axis:
    """One line of the space."""
    hint = hint_at(root, key)
    if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in MEANINGS:
        raise ConfigError(
            f"{where}: {key}: expected one of {{log: [1e-5, 1e-2]}}, {{float: [0, 1]}}, {{int: [1, 9]}}, "
            "{choice: [a, b]}"
        )
    [(kind, values)] = given.items()
    if not isinstance(values, list) or (kind == "choice" and not values) or (kind != "choice" and len(values) != 2):
        raise ConfigError(f"{where}: {key}: {kind} takes {'a list' if kind == 'choice' else '[LOW, HIGH]'}")
    if kind == "choice":
        shown = dict(written_value(key, value, where) for value in values)
        if len(shown) < len(values):
            raise ConfigError(f"{where}: {key}: a value is named twice; leave one of them out")
        return Axis(key, name, kind, choices=shown)
    if hint not in (int, float, None):  # a key that does not exist is refused with all others
        raise ConfigError(f"{where}: {key} is no number; name its values: {{choice: [...]}}")
    if hint is int and kind == "float":
        raise ConfigError(f"{where}: {key} takes whole numbers: {{int: [LOW, HIGH]}}")
    whole = kind == "int" or hint is int
    try:
        low, high = (fitted(int if whole else float, value, key) for value in values)
    except Unfit as error:
        raise ConfigError(f"{where}: {key} = {error.value}: {error}") from None
    if not all(isinstance(end, int | float) for end in (low, high)):
        raise ConfigError(f"{where}: {key}: {kind} takes numbers, and no ${{KEY}}")
    if not (math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or kind != "log")):
        above = ", and above 0" if kind == "log" else ""
        raise ConfigError(f"{where}: {key}: {kind} takes [LOW, HIGH], the lower one first{above}")
    return Axis(key, name, kind, low, high, whole)


def check_space(asked: SearchConfig, root: type, source: str) -> None:
    """Refuse what a knob cannot have: the ends of ranges, and every choice. Raises ConfigError.

    Values that do not go together are known when a trial has them.
    """
    where = f"{source}: search.space"
    ends = {axis.key: list(_ends(axis)) for axis in asked.space}
    for turn in range(max(map(len, ends.values()))):
        chosen = {key: values[min(turn, len(values) - 1)] for key, values in ends.items()}
        items = [nested({key.rpartition(".")[2]: value}, key.rpartition(".")[0]) for key, value in chosen.items()]
        settings: Any = merge(root, fit(root, [Layer(where, item) for item in items]))
        for key in chosen:
            for problem in outside(settings, key):
                raise ConfigError(f"{where}: {key} {problem}")


def _ends(axis: Axis) -> Iterator[Any]:
    if axis.choices is not None:
        yield from map(Argument, axis.choices.values())
    else:
        yield axis.low
        yield axis.high
