"""Scores and words of test pictures: `scores.csv` and `answers.jsonl`.

Knows these two files. Knows nothing of pictures; imports no torch.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_pure.families.family import Family
from lit_pure.files.names import nfc
from lit_pure.files.reading import BROKEN
from lit_pure.metrics.rows import KEYS, read_rows

Scores = dict[str, float]
"""Metric key -> score of one picture."""
LABEL_SOURCE = "labels (DEM) and caption (source)"
"""Source of the words that no model wrote."""


@dataclass(frozen=True)
class Annotation:
    """What was written about one picture, and by whom."""

    source: str
    """Label of a run, or `LABEL_SOURCE`."""
    lines: Mapping[str, str]
    """By name, for example `degradation` and `caption`, in the order in which they are shown; none is empty."""


def read_scores(path: Path, test_set: str | None = None) -> dict[str, dict[str, Scores]]:
    """Method -> picture -> scores; empty if there is no file.

    Args:
        path: of a `scores.csv`.
        test_set: whose rows to read; None: all.

    Raises:
        ValueError: the file is not a table of scores.
    """
    if not path.is_file():
        return {}
    table = read_rows(path)
    found: dict[str, dict[str, Scores]] = {}
    for row in table.to_dict("records"):
        of_set, method, image = (str(row.pop(key)) for key in KEYS)
        if test_set in (None, of_set):
            scores = {str(key): float(value) for key, value in row.items() if math.isfinite(value)}
            found.setdefault(method, {})[file_stem(image)] = scores
    return found


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Picture -> line of `answers.jsonl`; empty if there is no file.

    Raises:
        ValueError: a line cannot be read; the message names it.
    """
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[file_stem(str(row["image"]))] = row
        except BROKEN as error:
            raise ValueError(
                f"{path}: line {number} is not an answer ({error}); remove it, or make the run again"
            ) from error
    return rows


def file_stem(image: str) -> str:
    """The name of a picture's file in NFC, without extension: sub-folders of a photograph become part of the name."""
    return nfc(image.replace("/", "_"))


def annotations_of(
    image: str, answers: Mapping[str, tuple[Family, Mapping[str, Mapping[str, Any]]]]
) -> list[Annotation]:
    """What is known of a picture, then what each model wrote; models that wrote nothing are left out.

    Args:
        image: name of the picture.
        answers: label of a run -> its family, and what `read_answers` gives.
    """
    rows = {label: family.read_words(of_run[image]) for label, (family, of_run) in answers.items() if image in of_run}
    known_words = [Annotation(LABEL_SOURCE, known) for known, _ in rows.values() if known][:1]
    return known_words + [Annotation(label, written) for label, (_, written) in rows.items() if written]
