"""What a gallery shows: which pictures of runs and of other methods belong together, with their figures and words.

Knows the layout of a run's `images/`, and folders of any method's outputs. Looks at names; at pixels only where two
runs must show the same ones. Knows nothing of the page (`write.py`), and imports no torch by itself, so that a mistake
is told at once.
"""

import filecmp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lit_pure.config.compose import ConfigError
from lit_pure.families.table import family_by_summary
from lit_pure.gallery.records import Scores, Words, read_answers, read_scores, words_about
from lit_pure.images.files import list_images
from lit_pure.images.labels import BICUBIC, GROUND_TRUTH, LQ, RECONSTRUCTED, RESTORED
from lit_pure.metrics.rows import FILE as SCORES
from lit_pure.runs.folder import Run

MADE = (RESTORED, RECONSTRUCTED)
"""What a run calls the folder of the pictures that it made."""
NAMED = 3
"""So many missing pictures are named, the others counted."""


@dataclass(frozen=True)
class Shot:
    """One test picture in all its versions."""

    test_set: str
    image: str
    pictures: dict[str, Path]
    """Method -> file; that of bicubic is the LQ picture that it is made from."""
    scores: dict[str, Scores]
    words: list[Words]

    @property
    def name(self) -> str:
        """Unique in a gallery, for example realsr/Canon_001."""
        return f"{self.test_set}/{self.image}"


@dataclass(frozen=True)
class Gallery:
    """All that a page shows."""

    sets: list[str]
    rivals: list[str]
    """Methods to be judged: runs, then folders."""
    shots: list[Shot]
    metrics: list[str]
    """Keys that some picture has a score of."""
    notes: list[str]
    """What is missing, in sentences."""
    seed: int
    """Of the choice of pictures and of the blind test."""

    @property
    def methods(self) -> list[str]:
        """Of all pictures, in the order to show them."""
        shown = [LQ, BICUBIC, *self.rivals, GROUND_TRUTH]
        return [method for method in shown if any(method in shot.pictures for shot in self.shots)]


def gather(runs: Sequence[Run], folders: Mapping[str, Path], sets: Sequence[str], photos: int, seed: int) -> Gallery:
    """Find what belongs together.

    Args:
        runs: finished, with the pictures of their tests.
        folders: name -> folder with another method's outputs, named as the test pictures, any extension; of several
            test sets, each in a sub-folder of its name. A `scores.csv` among them holds their figures.
        sets: test sets to show; empty: all that the runs share.
        photos: most pictures to show, drawn by the seed; those that every method has come first.
        seed: draws them.

    Raises:
        ConfigError: the runs share no test set or no picture, or not those asked for.
        ValueError: a file is damaged, or runs show different test pictures under one name.
    """
    labels = [run.label for run in runs]
    doubled = [name for name in [*labels, *folders] if [*labels, *folders, LQ, BICUBIC, GROUND_TRUTH].count(name) > 1]
    if doubled:
        raise ConfigError(f"two methods are named {doubled[0]}; name each run once, and folders otherwise")
    chosen_sets, notes = _sets(runs, sets)
    rivals = [*labels, *folders]
    found = [shot for name in chosen_sets for shot in _shots(name, runs, folders, len(chosen_sets) > 1)]
    shots = _choose(found, rivals, photos, seed)
    for shot in shots:
        _require_same(runs, shot)
    notes += [note for rival in rivals if (note := _missing(rival, shots))]
    notes += [f"{run.label} has no {SCORES}, so no figures" for run in runs if not (run.folder / SCORES).is_file()]
    keys = dict.fromkeys(key for shot in shots for scores in shot.scores.values() for key in scores)
    return Gallery(chosen_sets, rivals, shots, list(keys), notes, seed)


def _sets(runs: Sequence[Run], asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """The test sets to show, and what is to be said of others. Raises ConfigError."""
    has = {run.label: _tested(run) for run in runs}
    told = "; ".join(f"{label} has {', '.join(sets)}" for label, sets in has.items())
    for name in asked:
        lacking = [label for label, sets in has.items() if name not in sets]
        if lacking:
            raise ConfigError(f"--test-set {name}: {lacking[0]} has no pictures of it ({told})")
    common = [name for name in next(iter(has.values())) if all(name in sets for sets in has.values())]
    if not common:
        raise ConfigError(f"these runs share no test set, so there is nothing to compare ({told})")
    if asked:
        return list(dict.fromkeys(asked)), []
    others = sorted({name for sets in has.values() for name in sets} - set(common))
    return common, [f"test set {name} is left out: not every run has it" for name in others]


def _tested(run: Run) -> list[str]:
    """The sets that a run kept its pictures of. Raises ConfigError where there is none."""
    sets = sorted({folder.parent.name for made in MADE for folder in (run.folder / "images").glob(f"*/{made}")})
    if not sets:
        raise ConfigError(
            f"{run.label} keeps no pictures by method (looked for {run.folder}/images/SET/{MADE[0]}/): a run that "
            "restores nothing has none; one of an older version must be made again"
        )
    return sets


def _shots(test_set: str, runs: Sequence[Run], folders: Mapping[str, Path], several: bool) -> Iterator[Shot]:
    """Every picture of a set that some run made, by name."""
    made = {run.label: _by_name(_made(run, test_set)) for run in runs}
    places = {name: folder / test_set if several else folder for name, folder in folders.items()}
    made |= {name: _outputs(name, folder) for name, folder in places.items()}
    names = sorted({image for run in runs for image in made[run.label]})
    for name in folders:
        if names and not made[name].keys() & set(names):
            example = next(iter(made[name]))
            raise ConfigError(f"--folder {name}: no picture is named as one of {test_set} ({example}, but {names[0]})")
    lq, truth = ([_by_name(run.folder / "images" / test_set / kind) for run in runs] for kind in ("lq", "hq"))
    scores = _all_scores(test_set, runs, places)
    answers = {
        run.label: (family_by_summary(run), read_answers(run.folder / "images" / test_set / "answers.jsonl"))
        for run in runs
    }
    for image in names:
        pictures = {method: files[image] for method, files in made.items() if image in files}
        for files in reversed(lq):
            if image in files:
                pictures[LQ] = pictures[BICUBIC] = files[image]
        for files in reversed(truth):
            if image in files:
                pictures[GROUND_TRUTH] = files[image]
        figures = {method: rows[image] for method, rows in scores.items() if image in rows}
        yield Shot(test_set, image, pictures, figures, words_about(image, answers))


def _all_scores(test_set: str, runs: Sequence[Run], folders: Mapping[str, Path]) -> dict[str, dict[str, Scores]]:
    """Method -> picture -> figures. Those of bicubic are of the same pictures in every run: what one has, all have."""
    found: dict[str, dict[str, Scores]] = {}
    tables = {run.label: read_scores(run.folder / SCORES, test_set) for run in runs}
    for label, table in tables.items():
        found[label] = next((table[method] for method in MADE if method in table), {})
    bicubic = found.setdefault(BICUBIC, {})
    for label in sorted(tables):  # not the order given, which must not change any figure
        for image, scores in tables[label].get(BICUBIC, {}).items():
            bicubic[image] = scores | bicubic.get(image, {})
    for name, folder in folders.items():
        table = read_scores(folder / SCORES)  # evaluated by itself: its set has the name of some folder
        own = [method for method in (name, folder.resolve().name, *table) if method in table]
        found[name] = table[own[0]] if own else {}
    return found


def _made(run: Run, test_set: str) -> Path:
    """The folder of the pictures that the run made."""
    folders = [run.folder / "images" / test_set / made for made in MADE]
    return next(folder for folder in folders if folder.is_dir())


def _outputs(name: str, folder: Path) -> dict[str, Path]:
    """Another method's pictures by name, whatever their extension. Raises ConfigError."""
    files: dict[str, Path] = {}
    try:
        for path in list_images(folder):
            if path.stem in files:
                raise ValueError(f"{path} and {files[path.stem].name}: which of them is the picture? Remove one")
            files[path.stem] = path
    except ValueError as error:
        raise ConfigError(f"--folder {name}: {error}") from error
    return files


def _by_name(folder: Path) -> dict[str, Path]:
    """A run's pictures by name; none where there is no folder."""
    return {path.stem: path for path in sorted(folder.glob("*.png"))}


def _choose(found: list[Shot], rivals: list[str], photos: int, seed: int) -> list[Shot]:
    """Draw pictures: those that can be judged first, that is with all rivals and what they were made from."""
    complete = [all(rival in shot.pictures for rival in rivals) for shot in found]
    if not any(complete):
        has = "; ".join(
            f"{rival} has {next((shot.name for shot in found if rival in shot.pictures), 'none')}" for rival in rivals
        )
        raise ConfigError(f"no picture is there of every method, so there is nothing to compare ({has})")
    rng = np.random.default_rng(seed)
    order = [int(index) for index in rng.permutation(len(found))]
    order.sort(key=lambda index: (not complete[index], LQ not in found[index].pictures))
    return [found[index] for index in sorted(order[:photos])]


def _missing(rival: str, shots: list[Shot]) -> str:
    """Which pictures a method lacks, empty where none."""
    names = [shot.name for shot in shots if rival not in shot.pictures]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{rival} has no picture of {', '.join(names[:NAMED])}{more}" if names else ""


def _require_same(runs: Sequence[Run], shot: Shot) -> None:
    """Raises ValueError where runs were tested on different pictures of one name."""
    for kind in ("lq", "hq"):
        paths = [(run.label, run.folder / "images" / shot.test_set / kind / f"{shot.image}.png") for run in runs]
        (first, one), *others = [(label, path) for label, path in paths if path.is_file()] or [("", Path())]
        for label, other in others:
            if not _equal(one, other):
                raise ValueError(
                    f"{first} and {label} have different {kind.upper()} pictures of {shot.name}; "
                    "only runs that were tested on the same pictures (size, seed, degradation) can be compared"
                )


def _equal(one: Path, other: Path) -> bool:
    if filecmp.cmp(one, other, shallow=False):
        return True
    import torch

    from lit_pure.images.io import read_bytes

    return torch.equal(read_bytes(one), read_bytes(other))
