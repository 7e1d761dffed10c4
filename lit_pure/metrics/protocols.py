"""Published ways to measure: which metric a column of a paper is, on which colours, with which weights.

Knows the files in `data/protocols/`, one per protocol, and checks them against `table.py`. Knows nothing of how a score
is computed; imports no torch.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lit_pure.config.compose import ConfigError
from lit_pure.config.project import locate, names_in
from lit_pure.files.reading import shown
from lit_pure.files.yaml12 import Plain, parse, resolved
from lit_pure.metrics.table import METRICS, info_of

FOLDER = "data/protocols"
"""Folder of NAME.yaml, first below the working directory, then below the project."""
_KEYS = {"title": str, "color": str, "border": int, "metrics": dict, "weights": dict, "notes": list}
_LUMA = {"Y": True, "RGB": False}


@dataclass(frozen=True)
class Protocol:
    """One way to measure."""

    name: str
    title: str
    """Its origin."""
    metrics: dict[str, str]
    """Label in tables -> key in `table.METRICS`, in the order of the columns."""
    color: str
    """Y or RGB, for PSNR and SSIM."""
    border: int
    """Cut off each side of both pictures before measuring [px]."""
    weights: dict[str, tuple[str, ...]]
    """Names of the files that each metric reads."""
    notes: tuple[str, ...]
    """What is not known for certain."""


def names() -> list[str]:
    """The names of all protocols."""
    return names_in(FOLDER)


def protocol(name: str) -> Protocol:
    """The protocol of a name. Raises ConfigError: no such protocol, or its file contradicts `table.METRICS`."""
    path = locate(f"{FOLDER}/{name}.yaml")
    if name not in names() or not path.is_file():
        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"no such protocol: {name}; {hint}")
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or content.keys() != _KEYS.keys():
        raise ConfigError(f"{path} must have exactly the keys {', '.join(_KEYS)}")
    content["border"] = resolved(content["border"])  # all others are text
    if wrong := [key for key, kind in _KEYS.items() if not isinstance(content[key], kind)]:
        raise ConfigError(f"{path}: {wrong[0]} must be a {_KEYS[wrong[0]].__name__}, found {content[wrong[0]]!r}")
    if not all(_is_text(found) for found in content["weights"].values()):
        raise ConfigError(f"{path}: weights must be lists of file names")
    if not _is_text(content["notes"]):
        raise ConfigError(f"{path}: notes must be a list of text, found {shown(content['notes'])}")
    for label, key in ((resolved(Plain(label)), resolved(key)) for label, key in content["metrics"].items()):
        if not (isinstance(label, str) and isinstance(key, str)):
            raise ConfigError(f"{path}: metrics: {label!r}: {key!r} must be a column's name and a metric's key")
    weights = {key: tuple(found) for key, found in content.pop("weights").items()}
    made = Protocol(name=name, weights=weights, notes=tuple(content.pop("notes")), **content)
    _refuse_contradictions(made, path)
    return made


def _is_text(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(item, str) for item in found)


def _refuse_contradictions(made: Protocol, path: Path) -> None:
    """Raise ConfigError unless our metrics can follow the protocol."""
    if made.color not in _LUMA or made.border < 0:
        raise ConfigError(f"{path}: color is {made.color}, border {made.border}; use Y or RGB, and 0 or more px")
    for label, key in made.metrics.items():
        try:
            info = info_of(key)
        except ValueError as error:
            raise ConfigError(f"{path}: {label}: {error}") from error
        on_luma: Any = info.options.get("test_y_channel", _LUMA[made.color])
        if on_luma != _LUMA[made.color]:
            raise ConfigError(f"{path}: {label}: {key} is not measured on {made.color}; use another metric or color")
        pinned, read = made.weights.get(key, ()), tuple(file.name for file in METRICS[key].files)
        if pinned != read:
            raise ConfigError(
                f"{path}: {key} should read {', '.join(pinned) or 'no file'}, but it reads {', '.join(read)} here"
            )
    if unused := [key for key in made.weights if key not in made.metrics.values()]:
        raise ConfigError(
            f"{path}: weights: {unused[0]}: {list(made.weights[unused[0]])} belong to no metric of this protocol"
        )
