"""Figures and words that belong to test pictures: `scores.csv` and `answers.jsonl`.

Knows these two files. Knows nothing of pictures; imports no torch.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_pure.families.family import Family
from lit_pure.metrics.rows import KEYS, read_rows

Scores = dict[str, float]
"""Metric key -> score of one picture."""
LABELS = "labels (DEM) and caption (source)"
"""Whose words those are that no model wrote."""


@dataclass(frozen=True)
class Words:
    """What was written about one picture, and by whom."""

    source: str
    """Label of a run, or `LABELS`."""
    lines: Mapping[str, str]
    """By name, for example `degradation` and `caption`, in the order to show them; none of them is empty."""


def read_scores(path: Path, test_set: str | None = None) -> dict[str, dict[str, Scores]]:
    """Method -> picture -> figures; nothing where there is no file.

    Args:
        path: of a `scores.csv`.
        test_set: whose rows to read; None: all.

    Raises:
        ValueError: it is no such file.
    """
    if not path.is_file():
        return {}
    table = read_rows(path)
    found: dict[str, dict[str, Scores]] = {}
    for row in table.to_dict("records"):
        of_set, method, image = (str(row.pop(key)) for key in KEYS)
        if test_set in (None, of_set):
            figures = {str(key): float(value) for key, value in row.items() if math.isfinite(value)}
            found.setdefault(method, {})[as_file(image)] = figures
    return found


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Picture -> line of `answers.jsonl`; nothing where there is no file.

    Raises:
        ValueError: a line cannot be read; it is named.
    """
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[as_file(str(row["image"]))] = row
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}: line {number} is no answer ({error}); remove it, or make the run again"
            ) from error
    return rows


def as_file(image: str) -> str:
    """A picture's name as its file has it: of photographs in sub-folders, these are part of the name."""
    return image.replace("/", "_")


def words_about(image: str, answers: Mapping[str, tuple[Family, Mapping[str, Mapping[str, Any]]]]) -> list[Words]:
    """What is held to be true of a picture, then what each model wrote; nothing of those that wrote nothing.

    Args:
        image: name of the picture.
        answers: label of a run -> its family, and what `read_answers` gives.
    """
    rows = {label: family.read_words(of_run[image]) for label, (family, of_run) in answers.items() if image in of_run}
    truths = [Words(LABELS, known) for known, _ in rows.values() if known][:1]
    return truths + [Words(label, written) for label, (_, written) in rows.items() if written]
