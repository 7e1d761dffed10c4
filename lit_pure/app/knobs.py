"""The knobs of the page: which settings of a run can be turned there, and where they stand.

Knows their names for people and useful ranges; what is legal says the configuration. Knows no family: a knob is shown
where the run's settings have it. Knows no page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from lit_pure.config.experiment import RestoringExperiment

Value = float | int | str
"""Where a knob stands."""


@dataclass(frozen=True)
class PageKnob:
    """One setting that can be turned on the page."""

    key: str
    """Of the setting, dotted."""
    label: str
    info: str
    """What turning it does."""
    low: float | None = None
    high: float | None = None
    """Ends of a slider; None: a number is typed, or one of the legal words chosen."""
    step: float = 1
    only: tuple[str, str] | None = None
    """Another setting of its section, and the value with which this one has an effect."""


KNOBS = (
    PageKnob(
        "restoring.fidelity",
        "Fidelity",
        "0: all is drawn anew; 1: as near to the photograph as it can",
        *(0.0, 1.0, 0.05),
    ),
    PageKnob(
        "sampling.guidance",
        "Guidance",
        "1 is plain; above it, the model follows what it has read more",
        *(0.0, 3.0, 0.1),
    ),
    PageKnob(
        "sampling.k_max",
        "k: codes to draw from",
        "For the least certain parts: fewer is calmer, more is richer",
        1,
        only=("top_k", "dynamic"),
    ),
    PageKnob(
        "sampling.k",
        "k: codes to draw from",
        "For each part: fewer is calmer, more is richer",
        1,
        only=("top_k", "fixed"),
    ),
    PageKnob("sampling.engine", "Engine", "How codes are drawn: jacobi takes fewer passes"),
    PageKnob("sampling.seed", "Seed", "Another number draws another picture", 0),
)
"""All, in the order of the page."""


def knobs_of(settings: RestoringExperiment, sees_source: bool) -> dict[str, Value]:
    """Key -> value of the knobs that have an effect; `sees_source`: whether the decoder can see the photograph."""
    found: dict[str, Value] = {}
    for knob in KNOBS:
        section_name, _, name = knob.key.partition(".")
        section = getattr(settings, section_name, None)
        value = getattr(section, name, None)
        if isinstance(value, list):  # one number for all scales; a page cannot show one for each
            value = value[0] if len(value) == 1 else None
        works = knob.only is None or getattr(section, knob.only[0], None) == knob.only[1]
        if value is not None and works and (sees_source or name != "fidelity"):
            found[knob.key] = value
    return found


def choices_of(settings: RestoringExperiment, key: str) -> tuple[str, ...]:
    """The legal words of a knob; none where it is a number, or the settings lack it."""
    section_name, _, name = key.partition(".")
    section = getattr(settings, section_name, None)
    words = get_args(get_type_hints(type(section)).get(name)) if section is not None else ()
    return tuple(word for word in words if isinstance(word, str))


def changes(settings: RestoringExperiment, values: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE of each knob, for `settings_of`. Raises ValueError for a knob without a value."""
    if empty := [knob.label for knob in KNOBS if knob.key in values and values[knob.key] in (None, "")]:
        raise ValueError(f"{empty[0]} is empty; give a value")
    lists = {key for key in values if isinstance(_value(settings, key), list)}
    return [f"{key}=[{value}]" if key in lists else f"{key}={value}" for key, value in values.items()]


def _value(settings: RestoringExperiment, key: str) -> Any:
    section_name, _, name = key.partition(".")
    return getattr(getattr(settings, section_name, None), name, None)
