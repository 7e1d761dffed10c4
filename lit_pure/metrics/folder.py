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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

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
) -> Evaluation:
    """The same, for the result of `match` on these folders in this order, and the result of `choose`."""
    methods = _method_names(pred, against)
    left_out = [EvaluationProblem(file, f"{file}: {reason}") for file, reason in matches.left_out]
    found = Evaluation(methods, target, choice, problems=left_out, maps=matches.maps)
    scoring = _Scoring(choice, torch.device(device))
    for name, files, reading in _read_ahead(matches.found):
        try:
            images = _cut_borders(files, reading.result(), choice.border)
        except BadImage as error:
            file = next((path for path in files if str(error).startswith(f"{path}: ")), files[0])
            found.problems.append(EvaluationProblem(file, str(error)))
        else:
            truth = images.pop(1) if target else None
            files = files[:1] + files[2:] if target else files
            for method, file, image in zip(methods, files, images, strict=True):
                found.scores[method][name], problems = scoring.scores(method, file, image, truth)
                found.problems += problems
            scoring.remember_truth(truth)
        progress()
    scoring.score_sets(found)
    return found


class _Scoring:
    """All metrics of a choice, and the features that metrics of sets keep until the end."""

    def __init__(self, choice: Choice, device: torch.device) -> None:
        self.device = device
        self.scorers = [Scorer(key).to(device) for key in choice.metrics if not METRICS[key].of_sets]
        self.of_sets = {key: Frechet(key).to(device) for key in choice.metrics if METRICS[key].of_sets}
        self.features: defaultdict[tuple[str, str], list[Tensor]] = defaultdict(list)  # of (metric, method)

    def scores(
        self, method: str, file: Path, image_3HW: Tensor, truth_3HW: Tensor | None
    ) -> tuple[dict[str, float], list[EvaluationProblem]]:
        """The scores of a picture, and a problem for each missing score."""
        for key in self.of_sets:
            self._remember(key, method, image_3HW)
        found, lacking = score_bytes(self.scorers, image_3HW, truth_3HW, self.device)
        return found, [EvaluationProblem(file, f"{file}: {reason}", key) for key, reason in lacking.items()]

    def remember_truth(self, truth_3HW: Tensor | None) -> None:
        """Keep the features of a true picture for metrics of sets."""
        for key in self.of_sets:
            if truth_3HW is not None:
                self._remember(key, _TRUTH, truth_3HW)

    def score_sets(self, found: Evaluation) -> None:
        """Add the scores of sets, and a problem for each missing one."""
        for key in self.of_sets:
            for method, folder in found.methods.items():
                try:
                    sides = [torch.cat(self.features[key, side] or [torch.zeros(0, 1)]) for side in (method, _TRUTH)]
                    found.of_sets[method][key] = distance(*sides)
                except ValueError as error:
                    found.problems.append(EvaluationProblem(folder, f"{folder}: no {key}: {error}", key))

    def _remember(self, key: str, side: str, image_3HW: Tensor) -> None:
        image_B3HW = from_bytes(image_3HW.to(self.device))[None]
        self.features[key, side].append(self.of_sets[key].features(image_B3HW).cpu())


def _read_ahead(found: dict[str, tuple[Path, ...]]) -> Iterator[tuple[str, tuple[Path, ...], Future[list[Tensor]]]]:
    """The pictures of each name in order, read by a separate thread while others are scored."""
    waiting: deque[tuple[str, tuple[Path, ...], Future[list[Tensor]]]] = deque()
    with ThreadPoolExecutor(1) as reader:
        for name, files in found.items():
            waiting.append((name, files, reader.submit(_read, files)))
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
