"""Who is compared: the pictures that a run made, and bicubic enlargement; what they scored and where the pictures are.

Knows `scores.csv` and the layout of a run's `images/`. Knows nothing of figures.

Suffixes: 3 RGB, H W sides of a picture [px].
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from lit_pure.images.geometry import resize
from lit_pure.images.io import read_image, same_pixels
from lit_pure.images.labels import BICUBIC, RESTORED
from lit_pure.metrics.rows import FILE, KEYS, read_rows
from lit_pure.metrics.table import info_or_plain
from lit_pure.notebook.style import GREY, color_of
from lit_pure.runs.folder import Run

SAME = 1e-3
"""Bicubic scores of one picture that differ by more, relatively, are of different LQ pictures."""


@dataclass(frozen=True)
class Entrant:
    """One method of one run."""

    label: str
    run: Run
    method: str
    """restored, reconstructed, ... as in `scores.csv`; bicubic."""
    color: str = GREY
    """In every figure: that of its run's curves; grey for bicubic."""

    @property
    def task(self) -> str:
        """What it was asked for: bicubic stands beside what is restored; a tokenizer has seen the ground truth."""
        return RESTORED if self.method == BICUBIC else self.method

    def scores(self) -> pd.DataFrame:
        """One row per (test_set, image), one column per metric; NaN is no score. Raises ValueError."""
        return _rows_of(self.run, self.method)

    def picture(self, test_set: str, image: str) -> Tensor | None:
        """What it made of a picture, (3, H, W) in [0, 1]; None where that was not kept. Raises BadImage."""
        if self.method != BICUBIC:
            return kept(self.run, test_set, self.method, image)
        lq_3hw = kept(self.run, test_set, "lq", image)
        side = self.run.experiment().data.size
        return None if lq_3hw is None else resize(lq_3hw[None], side, side)[0]


def entrants(runs: Sequence[Run]) -> dict[str, Entrant]:
    """All methods of the runs that were scored picture by picture, by label: bicubic first, then runs in their order.

    Runs that were tested on the same LQ pictures share one bicubic.

    Raises:
        ValueError: no run has scores, or a file of scores is damaged.
    """
    scored = [run for run in runs if (run.folder / FILE).is_file()]
    if not scored:
        labels = ", ".join(run.label for run in runs)
        raise ValueError(f"no {FILE} in {labels}: made before scores were kept by picture; make the run again")
    baselines: list[Entrant] = []
    own: list[Entrant] = []
    colors = color_of([run.label for run in runs])
    for run in scored:
        methods = list(dict.fromkeys(read_rows(run.folder / FILE)["method"]))
        named = [method for method in methods if method != BICUBIC]
        shown = {method: run.label if method == RESTORED else f"{run.label} ({method})" for method in named}
        own += [Entrant(shown[method], run, method, colors[run.label]) for method in named]
        if BICUBIC in methods and not any(_covers(other, Entrant("", run, BICUBIC)) for other in baselines):
            label = f"{BICUBIC} of {run.label}" if baselines else BICUBIC
            baselines.append(Entrant(label, run, BICUBIC))
    return {entrant.label: entrant for entrant in [*baselines, *own]}


def blocks(all_of_them: Mapping[str, Entrant]) -> dict[str, dict[str, Entrant]]:
    """Those whose scores can stand beside each other, restorers first; named by what they made, and how large."""
    found: list[dict[str, Entrant]] = []
    for label, one in all_of_them.items():
        alike = (block for block in found if not comparable(next(iter(block.values())), one))
        if (block := next(alike, None)) is not None:
            block[label] = one
        else:
            found.append({label: one})
    named: dict[str, dict[str, Entrant]] = {}
    for block in sorted(found, key=lambda block: next(iter(block.values())).task != RESTORED):
        first = next(iter(block.values()))
        name = f"{first.task}, {first.run.experiment().data.size} px"
        again = sum(known.startswith(name) for known in named)
        named[f"{name}, others ({again})" if again else name] = block
    return named


def two_to_compare(all_of_them: Mapping[str, Entrant]) -> tuple[Entrant, Entrant]:
    """The last two that restored the same pictures; with one run alone, it and bicubic.

    Raises:
        ValueError: there are no two with a picture in common.
    """
    newest_first = list(all_of_them.values())[::-1]
    candidates = sorted(newest_first, key=lambda one: (one.method == BICUBIC, one.method != RESTORED))
    for index, last in enumerate(candidates):
        for other in candidates[index + 1 :]:
            images = last.scores().index.intersection(other.scores().index)
            both = len(images) and common_metrics(last, other) and last.method != BICUBIC
            if both and not comparable(last, other):
                return last, other
    raise ValueError(f"no two of {', '.join(all_of_them)} were scored on the same pictures; name two such runs")


def together(first: Entrant, second: Entrant, metric: str, test_set: str = "") -> pd.DataFrame:
    """Scores of both on the pictures of a test set that both have a score of.

    Args:
        first: one method.
        second: the other.
        metric: its key.
        test_set: its name; without it the first that both were tested on.

    Returns:
        index (test_set, image); columns first, second, difference (first - second), gain (the same, positive where
        the first is better).

    Raises:
        ValueError: there are none, or the two runs were tested on different LQ pictures.
    """
    for one in (first, second):
        if metric not in one.scores():
            raise ValueError(f"{one.label} has no scores of {metric}; it has {', '.join(one.scores())}")
    if reason := comparable(first, second):
        raise ValueError(f"{second.label} cannot be compared with {first.label}: {reason}")
    sets = common_sets(first, second)
    if test_set and test_set not in sets:
        raise ValueError(f"{first.label} and {second.label} have no test set {test_set} in common; they have {sets}")
    table = pd.DataFrame({"first": first.scores()[metric], "second": second.scores()[metric]}).dropna()
    table = table[table.index.get_level_values("test_set") == (test_set or next(iter(sets), ""))]
    if table.empty:
        raise ValueError(f"{first.label} and {second.label} have no picture in common that has a score of {metric}")
    table["difference"] = table["first"] - table["second"]
    table["gain"] = table["difference"] * (1 if info_or_plain(metric).higher_is_better else -1)
    return table


def common_metrics(first: Entrant, second: Entrant) -> list[str]:
    """Metrics that both have scores of, in the order of the first."""
    return [str(metric) for metric in first.scores() if metric in second.scores()]


def common_sets(first: Entrant, second: Entrant) -> list[str]:
    """Test sets that both have scores of, in the order of the first."""
    mine, theirs = (one.scores().index.get_level_values("test_set") for one in (first, second))
    return [str(test_set) for test_set in mine.unique() if test_set in theirs]


def comparable(first: Entrant, second: Entrant) -> str:
    """Why the scores of two must not be compared; empty where they can be."""
    if first.task != second.task:
        return f"its pictures are {second.task}, not {first.task}"
    return other_pictures(first, second)


def other_pictures(first: Entrant, second: Entrant) -> str:
    """Why two do not show the same pictures; empty where they do.

    Ground truths that both kept must be equal to the byte. LQ pictures, which two kinds of devices make with other
    rounding, are known by their bicubic scores, and by their bytes where those are missing.
    """
    if first.run == second.run:
        return ""
    size, other = (one.run.experiment().data.size for one in (first, second))
    if size != other:
        return f"its pictures are of {other} px, not of {size} px"
    a, b = (_rows_of(one.run, BICUBIC) for one in (first, second))
    if not _agree(a, b):
        return "its LQ pictures of the same names are others: bicubic does not score the same on them"
    scored = bool(len(a.index.intersection(b.index)) and len(a.columns.intersection(b.columns)))
    compared = [_both_kept(first.run, second.run, kind) for kind in (("hq",) if scored else ("hq", "lq"))]
    for one_path, other_path in (pair for pairs in compared for pair in pairs):
        if not same_pixels(one_path, other_path):
            kind, name = one_path.parent.name.upper(), f"{one_path.parents[1].name}/{one_path.stem}"
            return f"its {kind} picture of {name} is another one"
    if not scored and not any(compared):
        return "nothing tells whether its pictures are the same: neither kept ones nor bicubic's scores in common"
    return ""


def kept_by_any(all_of_them: Iterable[Entrant], test_set: str, kind: str, image: str) -> Tensor | None:
    """LQ or HQ of a picture, from the first run that kept it; None where none did."""
    found = (kept(one.run, test_set, kind, image) for one in all_of_them)
    return next((picture for picture in found if picture is not None), None)


def kept(run: Run, test_set: str, kind: str, image: str) -> Tensor | None:
    """A picture of a run's test, (3, H, W) in [0, 1]; None where it was not kept.

    Args:
        run: whose.
        test_set: its name in `data.test`.
        kind: restored, reconstructed, lq or hq.
        image: without extension.

    Raises:
        BadImage: it is damaged.
    """
    path = run.folder / "images" / test_set / kind / f"{image}.png"
    return read_image(path) if path.is_file() else None


def _both_kept(one: Run, other: Run, kind: str) -> list[tuple[Path, Path]]:
    """Where the pictures of the same names are."""
    paths = sorted((one.folder / "images").glob(f"*/{kind}/*.png"))
    pairs = [(path, other.folder / path.relative_to(one.folder)) for path in paths]
    return [pair for pair in pairs if pair[1].is_file()]


def _rows_of(run: Run, method: str) -> pd.DataFrame:
    table = read_rows(run.folder / FILE)
    own = table[table["method"] == method].set_index(["test_set", "image"]).drop(columns="method")
    assert set(own.index.names) | {"method"} == set(KEYS)
    return own.dropna(axis="columns", how="all")


def _covers(known: Entrant, new: Entrant) -> bool:
    """Whether a baseline has all that another one has, with the same scores."""
    a, b = known.scores(), new.scores()
    return b.index.isin(a.index).all() and set(b) <= set(a) and _agree(a, b)


def _agree(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether scores of the same pictures are the same, to rounding."""
    images, metrics = a.index.intersection(b.index), a.columns.intersection(b.columns)
    apart = (a.loc[images, metrics] - b.loc[images, metrics]).abs()
    return not bool((apart > SAME * b.loc[images, metrics].abs() + 1e-6).to_numpy().any())
