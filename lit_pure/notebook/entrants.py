"""What is compared: a run's own pictures and bicubic enlargement, each with its scores and its pictures.

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
from lit_pure.notebook.style import GREY, colors_of
from lit_pure.runs.folder import Run

SAME = 1e-3
"""Relative difference of two bicubic scores of one picture above which the LQ pictures differ."""


@dataclass(frozen=True)
class Entrant:
    """One method of one run."""

    label: str
    run: Run
    method: str
    """As in `scores.csv`: restored, reconstructed, bicubic, ..."""
    color: str = GREY
    """The colour of its run's curves in every figure; grey for bicubic."""

    @property
    def task(self) -> str:
        """Its task: bicubic is compared with restored pictures; a tokenizer has seen the ground truth."""
        return RESTORED if self.method == BICUBIC else self.method

    def scores(self) -> pd.DataFrame:
        """One row per (test_set, image), one column per metric; NaN is no score. Raises ValueError."""
        return _scores_of(self.run, self.method)

    def picture(self, test_set: str, image: str) -> Tensor | None:
        """Its version of a picture, (3, H, W) in [0, 1]; None if it was not kept. Raises BadImage."""
        if self.method != BICUBIC:
            return read_picture(self.run, test_set, self.method, image)
        lq_3hw = read_picture(self.run, test_set, "lq", image)
        side = self.run.experiment().data.size
        return None if lq_3hw is None else resize(lq_3hw[None], side, side)[0]


def find_entrants(runs: Sequence[Run]) -> dict[str, Entrant]:
    """All methods of the runs with scores of single pictures, by label: bicubic first, then runs in their order.

    Runs that were tested on the same LQ pictures share one bicubic.

    Raises:
        ValueError: no run has scores, or a table of scores is damaged.
    """
    scored = [run for run in runs if (run.folder / FILE).is_file()]
    if not scored:
        labels = ", ".join(run.label for run in runs)
        raise ValueError(f"no {FILE} in {labels}: made before scores of single pictures were kept; make the run again")
    baselines: list[Entrant] = []
    own: list[Entrant] = []
    colors = colors_of([run.label for run in runs])
    for run in scored:
        methods = list(dict.fromkeys(read_rows(run.folder / FILE)["method"]))
        named = [method for method in methods if method != BICUBIC]
        shown = {method: run.label if method == RESTORED else f"{run.label} ({method})" for method in named}
        own += [Entrant(shown[method], run, method, colors[run.label]) for method in named]
        if BICUBIC in methods and not any(_covers(other, Entrant("", run, BICUBIC)) for other in baselines):
            label = f"{BICUBIC} of {run.label}" if baselines else BICUBIC
            baselines.append(Entrant(label, run, BICUBIC))
    return {entrant.label: entrant for entrant in [*baselines, *own]}


def group_comparable(entrants: Mapping[str, Entrant]) -> dict[str, dict[str, Entrant]]:
    """Groups of methods whose scores can be compared, restorers first; named by task and size of their pictures."""
    groups: list[dict[str, Entrant]] = []
    for label, one in entrants.items():
        fitting = (group for group in groups if not reason_not_comparable(next(iter(group.values())), one))
        if (group := next(fitting, None)) is not None:
            group[label] = one
        else:
            groups.append({label: one})
    named: dict[str, dict[str, Entrant]] = {}
    for group in sorted(groups, key=lambda group: next(iter(group.values())).task != RESTORED):
        first = next(iter(group.values()))
        name = f"{first.task}, {first.run.experiment().data.size} px"
        again = sum(known.startswith(name) for known in named)
        named[f"{name}, different pictures ({again})" if again else name] = group
    return named


def choose_two(entrants: Mapping[str, Entrant]) -> tuple[Entrant, Entrant]:
    """The last two methods that restored the same pictures; if there is only one run, it and bicubic.

    Raises:
        ValueError: no two methods have a picture in common.
    """
    newest_first = list(entrants.values())[::-1]
    candidates = sorted(newest_first, key=lambda one: (one.method == BICUBIC, one.method != RESTORED))
    for index, last in enumerate(candidates):
        for other in candidates[index + 1 :]:
            images = last.scores().index.intersection(other.scores().index)
            usable = len(images) and common_metrics(last, other) and last.method != BICUBIC
            if usable and not reason_not_comparable(last, other):
                return last, other
    raise ValueError(f"no two of {', '.join(entrants)} were scored on the same pictures; name two such runs")


def paired_scores(first: Entrant, second: Entrant, metric: str, test_set: str = "") -> pd.DataFrame:
    """Scores of two methods on the pictures of a test set for which both have a score.

    Args:
        first: one method.
        second: the other.
        metric: its key.
        test_set: its name; empty: the first on which both were tested.

    Returns:
        index (test_set, image); columns first, second, difference (first - second), gain (the difference with its
        sign changed if less is better).

    Raises:
        ValueError: there are no common pictures, or the two runs were tested on different LQ pictures.
    """
    for one in (first, second):
        if metric not in one.scores():
            raise ValueError(f"{one.label} has no scores of {metric}; it has {', '.join(one.scores())}")
    if reason := reason_not_comparable(first, second):
        raise ValueError(f"{second.label} cannot be compared with {first.label}: {reason}")
    sets = common_sets(first, second)
    if test_set and test_set not in sets:
        raise ValueError(f"{first.label} and {second.label} have no test set {test_set} in common; they have {sets}")
    table = pd.DataFrame({"first": first.scores()[metric], "second": second.scores()[metric]}).dropna()
    table = table[table.index.get_level_values("test_set") == (test_set or next(iter(sets), ""))]
    if table.empty:
        raise ValueError(f"{first.label} and {second.label} have no picture in common with a score of {metric}")
    table["difference"] = table["first"] - table["second"]
    table["gain"] = table["difference"] * (1 if info_or_plain(metric).higher_is_better else -1)
    return table


def common_metrics(first: Entrant, second: Entrant) -> list[str]:
    """Metrics for which both have scores, in the order of the first."""
    return [str(metric) for metric in first.scores() if metric in second.scores()]


def common_sets(first: Entrant, second: Entrant) -> list[str]:
    """Test sets for which both have scores, in the order of the first."""
    mine, theirs = (one.scores().index.get_level_values("test_set") for one in (first, second))
    return [str(test_set) for test_set in mine.unique() if test_set in theirs]


def reason_not_comparable(first: Entrant, second: Entrant) -> str:
    """Why the scores of two methods must not be compared; empty if they can be."""
    if first.task != second.task:
        return f"its pictures are {second.task}, not {first.task}"
    return reason_pictures_differ(first, second)


def reason_pictures_differ(first: Entrant, second: Entrant) -> str:
    """Why two methods do not show the same pictures; empty if they do.

    Ground truths that both runs kept must have equal pixels. LQ pictures differ by rounding between kinds of devices,
    so their bicubic scores are compared; if these are missing, their pixels.
    """
    if first.run == second.run:
        return ""
    size, other = (one.run.experiment().data.size for one in (first, second))
    if size != other:
        return f"its pictures have {other} px, not {size} px"
    a, b = (_scores_of(one.run, BICUBIC) for one in (first, second))
    if not _scores_agree(a, b):
        return "its LQ pictures of the same names differ: bicubic scores differ on them"
    scored = bool(len(a.index.intersection(b.index)) and len(a.columns.intersection(b.columns)))
    compared = [_common_pictures(first.run, second.run, kind) for kind in (("hq",) if scored else ("hq", "lq"))]
    for one_path, other_path in (pair for pairs in compared for pair in pairs):
        if not same_pixels(one_path, other_path):
            kind, name = one_path.parent.name.upper(), f"{one_path.parents[1].name}/{one_path.stem}"
            return f"its {kind} picture of {name} differs"
    if not scored and not any(compared):
        return "it is unknown whether its pictures are the same: no kept pictures and no bicubic scores in common"
    return ""


def read_first_picture(entrants: Iterable[Entrant], test_set: str, kind: str, image: str) -> Tensor | None:
    """LQ or HQ of a picture, from the first run that kept it; None if no run did."""
    found = (read_picture(one.run, test_set, kind, image) for one in entrants)
    return next((picture for picture in found if picture is not None), None)


def read_picture(run: Run, test_set: str, kind: str, image: str) -> Tensor | None:
    """A picture of a run's test, (3, H, W) in [0, 1]; None if it was not kept.

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


def _common_pictures(one: Run, other: Run, kind: str) -> list[tuple[Path, Path]]:
    """The files of the pictures that both runs kept under the same name."""
    paths = sorted((one.folder / "images").glob(f"*/{kind}/*.png"))
    pairs = [(path, other.folder / path.relative_to(one.folder)) for path in paths]
    return [pair for pair in pairs if pair[1].is_file()]


def _scores_of(run: Run, method: str) -> pd.DataFrame:
    table = read_rows(run.folder / FILE)
    own = table[table["method"] == method].set_index(["test_set", "image"]).drop(columns="method")
    assert set(own.index.names) | {"method"} == set(KEYS)
    return own.dropna(axis="columns", how="all")


def _covers(known: Entrant, new: Entrant) -> bool:
    """Whether a baseline has all scores of another one, with the same values."""
    a, b = known.scores(), new.scores()
    return b.index.isin(a.index).all() and set(b) <= set(a) and _scores_agree(a, b)


def _scores_agree(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether scores of the same pictures agree up to rounding."""
    images, metrics = a.index.intersection(b.index), a.columns.intersection(b.columns)
    differences = (a.loc[images, metrics] - b.loc[images, metrics]).abs()
    return not bool((differences > SAME * b.loc[images, metrics].abs() + 1e-6).to_numpy().any())
