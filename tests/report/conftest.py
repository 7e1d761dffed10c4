"""Run folders made by hand, with figures of our choice, below an empty working directory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from lit_pure.files.atomic import write_json
from lit_pure.metrics.rows import ScoreRow, write_rows
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

Make = Callable[..., Run]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a finished run: `make(name, {test set: {metric: figure or scores of single pictures}})`.

    `side` is that of its pictures [px], `measured` what the summary says of how they were.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()

    def made(
        name: str,
        sets: Mapping[str, Mapping[str, float | Sequence[float]]],
        *,
        family: str = "pure",
        base: str = "demo",
        version: int = 0,
        side: int = 512,
        measured: Mapping[str, object] | None = None,
    ) -> Run:
        run = Run(runs.ROOT / name / f"version_{version}")
        run.folder.mkdir(parents=True)
        summary = {"name": name, "family": family, "base": base, "steps": 3, "metrics": {"pyiqa": "0.1.16"}}
        summary["metrics"] |= measured or {}
        (run.folder / "config.yaml").write_text(f"data:\n  size: {side}\n")
        rows: list[ScoreRow] = []
        for on, figures in sets.items():
            single = {key: list(scores) for key, scores in figures.items() if isinstance(scores, Sequence)}
            means = {key: sum(scores) / len(scores) for key, scores in single.items()}
            summary |= {f"test/{on}/{key}": means.get(key, figures[key]) for key in figures}
            summary[f"test/{on}/bicubic_psnr"] = 99.0
            method = "reconstructed" if family == "tokenizer" else "restored"
            for index in range(max(map(len, single.values()), default=0)):
                scores = {key: values[index] for key, values in single.items()}
                rows += [ScoreRow(on, method, f"{index}", scores), ScoreRow(on, "bicubic", f"{index}", {"psnr": 99.0})]
        if rows:
            write_rows(run.folder / "scores.csv", rows, sorted({key for row in rows for key in row.scores}))
        write_json(run.folder / "summary.json", summary)
        write_json(run.folder / "provenance.json", {"needs": {}})
        return run

    return made
