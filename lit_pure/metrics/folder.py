"""Scores the pictures in folders of any origin; a bad picture is reported and left out.

Knows which files are read, in what order, and what happens to one that cannot be scored. Knows nothing of means and
differences (`evaluation.py`). Works from Python and notebooks:

    evaluation = evaluate(Path("results"), Path("truth"), ["psnr", "lpips"], against=Path("other_results"))
    evaluation.means()["results"]["psnr"].mean

A picture that is missing or unreadable in one folder is left out of all figures, so that all figures are over the same
pictures; a picture that one metric cannot score lacks only that score. Pictures are scored one by one: no score depends
on a batch, and memory does not grow with the number of pictures (FID keeps 2,048 numbers of each). The next pictures
are read meanwhile.

Suffixes: B pictures (here always 1), N pictures of a set, 3 RGB, H W height and width, D features.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lit_pure.files.work import ForEach
from lit_pure.images.io import BadImage, from_bytes, read_bytes
from lit_pure.images.matching import Matches, match
from lit_pure.metrics.choice import Choice, choose
from lit_pure.metrics.evaluation import Evaluation, EvaluationProblem
from lit_pure.metrics.score import Frechet, Scorer, distance, score_bytes
from lit_pure.metrics.table import METRICS

AHEAD = 4
"""Pictures that are read in advance, each with its partners."""
_TRUTH = ""
"""In place of a method's name: the true pictures."""


def evaluate(
    pred: Path,
    target: Path | None = None,
    metrics: Sequence[str] = (),
    *,
    against: Path | None = None,
    protocol: str = "",
    missing: Literal["refuse", "skip"] = "refuse",
    endings: Sequence[str] = (),
    device: torch.device | str = "cpu",
    progress: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Score a folder of pictures.

    Args:
        pred: the pictures to evaluate; sub-folders are ignored.
        target: the true pictures, with the same names (without extension) and sizes.
        metrics: keys of `metrics.table.METRICS`; by default those of the protocol, else psnr, ssim and niqe.
        against: pictures of another method, to compare with picture by picture.
        protocol: a published way to measure, from `data/protocols/`.
        missing: what to do about a metric whose weights are missing.
        endings: endings of names to ignore ("_x4").
        device: where to compute.
        progress: called after each picture.

    Raises:
        ValueError: a folder is missing or empty, nothing matches, or a metric cannot be measured (each with a remedy).
            A single bad picture raises nothing: see `Evaluation.problems`.
    """
    choice = choose(metrics, protocol, with_target=target is not None, missing=missing)
    matches = match([folder for folder in (pred, target, against) if folder is not None], endings)
    return evaluate_matches(matches, choice, pred, target, against, device=device, progress=progress)


def evaluate_matches(
    matches: Matches,
    choice: Choice,
    pred: Path,
    target: Path | None = None,
    against: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[], object] = lambda: None,
    each: ForEach | None = None,
) -> Evaluation:
    """The same, for the result of `match` on these folders in this order, and the result of `choose`.

    Where `each` is several processes, they score the pictures.
    """
    methods = _method_names(pred, against)
    left_out = [EvaluationProblem(file, f"{file}: {reason}") for file, reason in matches.left_out]
    found = Evaluation(methods, target, choice, problems=left_out, maps=matches.maps)
    scoring, scored = Scoring(choice, tuple(methods), target is not None), dict[int, ScoredPicture]()

    def receive(number: int, one: ScoredPicture) -> None:
        scored[number] = one
        progress()

    if each is None or each.alone:
        opened = scoring.opened(torch.device(device))
        for number, (files, reading) in enumerate(_read_ahead(matches.found.values())):
            receive(number, opened.score(files, reading.result))
    else:
        each(scoring, list(matches.found.values()), receive)
    features: defaultdict[tuple[str, str], list[Tensor]] = defaultdict(list)
    for number, name in enumerate(matches.found):
        one = scored[number]
        found.problems += one.problems
        for method, scores in one.scores.items():
            found.scores[method][name] = scores
        for key, feature_1D in one.features.items():
            features[key].append(feature_1D)
    _score_sets(found, features)
    return found


@dataclass(frozen=True)
class ScoredPicture:
    """What came of a picture and its partners."""

    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    """By method and metric; a metric that could not score a picture is missing."""
    problems: list[EvaluationProblem] = field(default_factory=list)
    features: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    """By metric of sets and method; `_TRUTH` is that of the true picture."""


@dataclass(frozen=True)
class Scoring:
    """Work on the pictures of one name."""

    choice: Choice
    methods: tuple[str, ...]
    with_target: bool

    def opened(self, device: torch.device) -> "_Scorers":
        """With the networks on a device."""
        return _Scorers(self, device)

    @contextmanager
    def __call__(self, device: torch.device) -> Iterator[Callable[[tuple[Path, ...]], ScoredPicture]]:
        """For `ForEach`: takes the files of a name."""
        opened = self.opened(device)
        yield lambda files: opened.score(files, lambda: _read(files))


class _Scorers:
    """All metrics of a choice."""

    def __init__(self, scoring: Scoring, device: torch.device) -> None:
        self._scoring, self._device, keys = scoring, device, scoring.choice.metrics
        self._scorers = [Scorer(key).to(device) for key in keys if not METRICS[key].of_sets]
        self._of_sets = {key: Frechet(key).to(device) for key in keys if METRICS[key].of_sets}

    def score(self, files: tuple[Path, ...], read: Callable[[], list[Tensor]]) -> ScoredPicture:
        """Score the pictures of a name; `read` gives their pixels, or raises BadImage."""
        try:
            images = _cut_borders(files, read(), self._scoring.choice.border)
        except BadImage as error:
            file = next((path for path in files if str(error).startswith(f"{path}: ")), files[0])
            return ScoredPicture(problems=[EvaluationProblem(file, str(error))])
        truth = images.pop(1) if self._scoring.with_target else None
        files = files[:1] + files[2:] if self._scoring.with_target else files
        one = ScoredPicture()
        for method, file, image in zip(self._scoring.methods, files, images, strict=True):
            self._remember(one, method, image)
            one.scores[method], lacking = score_bytes(self._scorers, image, truth, self._device)
            one.problems.extend(EvaluationProblem(file, f"{file}: {reason}", key) for key, reason in lacking.items())
        if truth is not None:
            self._remember(one, _TRUTH, truth)
        return one

    def _remember(self, one: ScoredPicture, side: str, image_3HW: Tensor) -> None:
        """Keep the features that metrics of sets need at the end."""
        for key, metric in self._of_sets.items():
            one.features[key, side] = metric.features(from_bytes(image_3HW.to(self._device))[None]).cpu()


def _score_sets(found: Evaluation, features: Mapping[tuple[str, str], list[Tensor]]) -> None:
    """Add the scores of sets, and a problem for each missing one."""
    for key in (key for key in found.choice.metrics if METRICS[key].of_sets):
        for method, folder in found.methods.items():
            try:
                sides = [torch.cat(features.get((key, side)) or [torch.zeros(0, 1)]) for side in (method, _TRUTH)]
                found.of_sets[method][key] = distance(*sides)
            except ValueError as error:
                found.problems.append(EvaluationProblem(folder, f"{folder}: no {key}: {error}", key))


def _read_ahead(names: Iterable[tuple[Path, ...]]) -> Iterator[tuple[tuple[Path, ...], Future[list[Tensor]]]]:
    """The pictures of each name in order, read by a separate thread while others are scored."""
    waiting: deque[tuple[tuple[Path, ...], Future[list[Tensor]]]] = deque()
    with ThreadPoolExecutor(1) as reader:
        for files in names:
            waiting.append((files, reader.submit(_read, files)))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()


def _read(files: Sequence[Path]) -> list[Tensor]:
    """uint8 (3, H, W) each."""
    return [read_bytes(file) for file in files]


def _cut_borders(files: Sequence[Path], images: Sequence[Tensor], border: int) -> list[Tensor]:
    """The pictures of a name without border. Raises BadImage where their sizes differ or nothing is left."""
    height, width = images[0].shape[-2:]
    for file, image_3HW in zip(files, images, strict=True):
        other_height, other_width = image_3HW.shape[-2:]
        if (other_height, other_width) != (height, width):
            raise BadImage(
                f"{files[0]}: is {height} x {width} px, {file} is {other_height} x {other_width} px; "
                "only pictures of one size can be compared"
            )
    if min(height, width) <= 2 * border:
        raise BadImage(f"{files[0]}: a border of {border} px leaves nothing of {height} x {width} px")
    return [image_3HW[:, border : height - border, border : width - border] for image_3HW in images]


def _method_names(pred: Path, against: Path | None) -> dict[str, Path]:
    """A name for each method: its folder, with as many parents as are needed to make both names differ."""
    folders = [folder for folder in (pred, against) if folder is not None]
    parts = [folder.resolve().parts[1:] or ("",) for folder in folders]
    depth = next((n for n in range(1, 1 + max(map(len, parts))) if len({one[-n:] for one in parts}) == len(parts)), 1)
    names = ["/".join(one[-depth:]) for one in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"{pred} is compared with itself; name another folder with --against")
    return dict(zip(names, folders, strict=True))
