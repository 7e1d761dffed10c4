"""Scores of a job come back as they were stored, also the first ones of a job that was stopped."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lit_pure.study import score_files
from lit_pure.study.score_files import Scored

JOB: Any = SimpleNamespace(pictures=SimpleNamespace(name="set"), digest="0", metrics=["psnr"], identity={"a": "\u2028"})


@pytest.mark.parametrize("name", ["a", "a,b", "a\rb", "a\nb", "a\x85b", "a\u2028b", "a\udce9b"])
def test_scores_come_back_whatever_a_picture_is_called(name: str, tmp_path: Path) -> None:
    found = {name: Scored("00ff", {"psnr": 20.5}), "z": Scored("ff00", {"psnr": 1.25})}
    score_files.write(JOB, tmp_path, found)
    assert score_files.read(JOB, tmp_path) == found


def test_lines_of_a_stopped_job_that_are_damaged_cost_themselves_alone(tmp_path: Path) -> None:
    whole = {"image": "a\u2028", "crc32": "00ff", "scores": {"psnr": 20.5}}
    wrong = [{**whole, key: value} for key, value in (("image", 3), ("crc32", None), ("scores", {"psnr": "x"}))]
    lines = [json.dumps(one).encode() for one in (*wrong, whole)]
    (tmp_path / "notes").write_bytes(b"\n".join([b"\xff", b"[" * 100_000, *lines, lines[-1][:-9]]))
    assert score_files.read_unfinished(tmp_path / "notes") == {"a\u2028": Scored("00ff", {"psnr": 20.5})}
    assert score_files.read_unfinished(tmp_path / "absent") == {}
