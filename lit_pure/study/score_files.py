"""Stores the scores of finished jobs, one file per job: the source of a study's page.

Knows `scores/SET-DIGEST.csv`: a line with everything that the scores depend on, then one row per picture with the
CRC-32 of its pixels. Knows nothing of how scores are made or what they mean.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lit_pure.files.atomic import write_whole
from lit_pure.files.reading import BROKEN, of_kind, parsed_object
from lit_pure.files.tables import csv_text
from lit_pure.study.jobs import StudyJob

FOLDER = "scores"


@dataclass(frozen=True)
class Scored:
    """The result of one picture."""

    crc32: str
    """Of the bytes (3, H, W) of the picture made: equal numbers mean equal pictures."""
    scores: Mapping[str, float]
    """By metric; NaN without a score."""


def scores_path(job: StudyJob, out: Path) -> Path:
    """The file of a job's scores."""
    return out / FOLDER / f"{job.pictures.name}-{job.digest}.csv"


def write(job: StudyJob, out: Path, found: Mapping[str, Scored]) -> None:
    """Store a finished job. Raises OSError where the file cannot be written."""
    rows = [["image", "crc32", *job.metrics]]
    for name, one in sorted(found.items()):
        rows.append([name, one.crc32, *(f"{one.scores[key]:.5f}" for key in job.metrics)])
    lines = f"# {json.dumps(job.identity, sort_keys=True)}\n{csv_text(rows)}"
    path = scores_path(job, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lines, errors="surrogateescape")  # keeps names that are not UTF-8


def read(job: StudyJob, out: Path) -> dict[str, Scored]:
    """The scores of a job by picture; empty where it is not finished. Raises ValueError where the file is damaged."""
    path = scores_path(job, out)
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            if not file.readline():
                raise ValueError("it is empty")
            rows = list(csv.DictReader(file, strict=True))
        return {row["image"]: Scored(row["crc32"], {key: float(row[key]) for key in job.metrics}) for row in rows}
    except (*BROKEN, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as scores ({error}); delete it, and the job is repeated") from error


def read_unfinished(path: Path) -> dict[str, Scored]:
    """The scores of an interrupted job, which has a line of JSON for each picture; damaged lines are ignored."""
    found: dict[str, Scored] = {}
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            note = parsed_object(line.decode("utf-8"))
            scores = {str(key): float(of_kind(score, int, float)) for key, score in note["scores"].items()}
            found[of_kind(note["image"], str)] = Scored(of_kind(note["crc32"], str), scores)
        except BROKEN:
            continue
    return found
