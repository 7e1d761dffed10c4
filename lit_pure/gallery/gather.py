"""What a gallery shows: which pictures of runs and of other methods belong together, with their scores and words.

Knows the layout of a run's `images/`, and folders of any method's outputs. Compares names; reads pixels only to check
that two runs show the same pictures. Knows nothing of the page (`write.py`). Imports no torch by itself, so that
mistakes are reported at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lit_pure.config.compose import ConfigError
from lit_pure.families.table import family_by_summary
from lit_pure.files.names import as_on_disk, nfc
from lit_pure.gallery.records import Annotation, Scores, annotations_of, read_answers, read_scores
from lit_pure.images.files import is_picture, list_images
from lit_pure.images.labels import BICUBIC, GROUND_TRUTH, LQ, RECONSTRUCTED, RESTORED
from lit_pure.metrics.rows import FILE as SCORES
from lit_pure.runs.folder import Run

MADE = (RESTORED, RECONSTRUCTED)
"""Names of the folders in which a run keeps the pictures that it made."""
NAMED = 3
"""Missing pictures that a note names; the rest is counted."""


@dataclass(frozen=True)
class Shot:
    """One test picture in all its versions."""

    test_set: str
    image: str
    pictures: dict[str, Path]
    """Method -> file; bicubic has the LQ picture from which it is made."""
    scores: dict[str, Scores]
    words: list[Annotation]

    @property
    def name(self) -> str:
        """Unique in a gallery, for example realsr/Canon_001."""
        return f"{self.test_set}/{self.image}"


@dataclass(frozen=True)
class Gallery:
    """Everything that a page shows."""

    sets: list[str]
    rivals: list[str]
    """Methods that are judged: runs, then folders."""
    shots: list[Shot]
    metrics: list[str]
    """Keys of metrics for which some picture has a score."""
    notes: list[str]
    """What is missing, in sentences."""
    seed: int
    """For the choice of pictures and the blind test."""

    @property
    def methods(self) -> list[str]:
        """Methods that have a picture, in the order in which they are shown."""
        shown = [LQ, BICUBIC, *self.rivals, GROUND_TRUTH]
        return [method for method in shown if any(method in shot.pictures for shot in self.shots)]


def gather(runs: Sequence[Run], folders: Mapping[str, Path], sets: Sequence[str], photos: int, seed: int) -> Gallery:
    """Find the pictures that belong together.

    Args:
        runs: finished runs that kept the pictures of their tests.
        folders: name -> folder with another method's outputs, named as the test pictures, with any extension; for
            several test sets, a sub-folder for each. A `scores.csv` in it has their scores.
        sets: test sets to show; empty: all that the runs share.
        photos: largest number of pictures, drawn by the seed; pictures that all methods have come first.
        seed: draws the pictures.

    Raises:
        ConfigError: the runs share no test set or no picture, or lack a requested test set.
        ValueError: a file is damaged, or runs have different test pictures of one name.
    """
    labels = [run.label for run in runs]
    doubled = [name for name in [*labels, *folders] if [*labels, *folders, LQ, BICUBIC, GROUND_TRUTH].count(name) > 1]
    if doubled:
        raise ConfigError(f"two methods are named {doubled[0]}; name each run once, and rename the folder")
    chosen_sets, notes = _choose_sets(runs, sets)
    rivals = [*labels, *folders]
    found = [shot for name in chosen_sets for shot in _find_shots(name, runs, folders, len(chosen_sets) > 1)]
    shots = _choose_shots(found, rivals, photos, seed)
    for shot in shots:
        _require_same(runs, shot)
    notes += [note for rival in rivals if (note := _missing_note(rival, shots))]
    notes += [f"{run.label} has no {SCORES}, so no scores" for run in runs if not (run.folder / SCORES).is_file()]
    keys = dict.fromkeys(key for shot in shots for scores in shot.scores.values() for key in scores)
    return Gallery(chosen_sets, rivals, shots, list(keys), notes, seed)


def _choose_sets(runs: Sequence[Run], asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """The test sets to show, and notes about the rest. Raises ConfigError."""
    sets_of = {run.label: _tested_sets(run) for run in runs}
    found = "; ".join(f"{label} has {', '.join(sets)}" for label, sets in sets_of.items())
    for name in asked:
        lacking = [label for label, sets in sets_of.items() if name not in sets]
        if lacking:
            raise ConfigError(f"--test-set {name}: {lacking[0]} has no pictures of it ({found})")
    common = [name for name in next(iter(sets_of.values())) if all(name in sets for sets in sets_of.values())]
    if not common:
        raise ConfigError(f"these runs share no test set, so there is nothing to compare ({found})")
    if asked:
        return list(dict.fromkeys(asked)), []
    rest = sorted({name for sets in sets_of.values() for name in sets} - set(common))
    return common, [f"test set {name} is left out: not every run has it" for name in rest]


def _tested_sets(run: Run) -> list[str]:
    """The test sets whose pictures a run kept. Raises ConfigError if there is none."""
    sets = sorted({folder.parent.name for made in MADE for folder in (run.folder / "images").glob(f"*/{made}")})
    if not sets:
        raise ConfigError(
            f"{run.label} has no pictures by method (looked for {run.folder}/images/SET/{MADE[0]}/): a run that "
            "restores nothing has none; a run of an older version must be made again"
        )
    return sets


def _find_shots(test_set: str, runs: Sequence[Run], folders: Mapping[str, Path], several: bool) -> Iterator[Shot]:
    """Every picture of a set that at least one run made, by name."""
    made = {run.label: _list_pictures(_pictures_folder(run, test_set)) for run in runs}
    folder_of = {name: folder / test_set if several else folder for name, folder in folders.items()}
    made |= {name: _list_outputs(name, folder) for name, folder in folder_of.items()}
    names = sorted({image for run in runs for image in made[run.label]})
    for name in folders:
        if names and not made[name].keys() & set(names):
            example = next(iter(made[name]))
            raise ConfigError(
                f"--folder {name}: no picture has the name of a picture of {test_set} "
                f"(found {example}, expected for example {names[0]})"
            )
    lq, truth = ([_list_pictures(run.folder / "images" / test_set / kind) for run in runs] for kind in ("lq", "hq"))
    scores = _all_scores(test_set, runs, folder_of)
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
        shot_scores = {method: rows[image] for method, rows in scores.items() if image in rows}
        yield Shot(test_set, image, pictures, shot_scores, annotations_of(image, answers))


def _all_scores(test_set: str, runs: Sequence[Run], folders: Mapping[str, Path]) -> dict[str, dict[str, Scores]]:
    """Method -> picture -> scores. Bicubic pictures are the same in every run, so their scores are merged."""
    found: dict[str, dict[str, Scores]] = {}
    tables = {run.label: read_scores(run.folder / SCORES, test_set) for run in runs}
    for label, table in tables.items():
        found[label] = next((table[method] for method in MADE if method in table), {})
    bicubic = found.setdefault(BICUBIC, {})
    for label in sorted(tables):  # the order of runs must not change any score
        for image, scores in tables[label].get(BICUBIC, {}).items():
            bicubic[image] = scores | bicubic.get(image, {})
    for name, folder in folders.items():
        table = read_scores(folder / SCORES)  # `evaluate` names the set after some folder
        own = [method for method in (name, folder.resolve().name, *table) if method in table]
        found[name] = table[own[0]] if own else {}
    return found


def _pictures_folder(run: Run, test_set: str) -> Path:
    """The folder of the pictures that a run made."""
    folders = [run.folder / "images" / test_set / made for made in MADE]
    return next(folder for folder in folders if folder.is_dir())


def _list_outputs(name: str, folder: Path) -> dict[str, Path]:
    """Another method's pictures by name, with any extension. Raises ConfigError."""
    files: dict[str, Path] = {}
    try:
        for path in list_images(folder):
            if (other := files.setdefault(nfc(path.stem), path)) != path:
                raise ValueError(f"{path} and {other.name} have the same name; remove one of them")
    except ValueError as error:
        raise ConfigError(f"--folder {name}: {error}") from error
    return files


def _list_pictures(folder: Path) -> dict[str, Path]:
    """A run's pictures by name, in NFC; empty if there is no folder."""
    return {nfc(path.stem): path for path in sorted(folder.glob("*.png")) if is_picture(path.name)}


def _choose_shots(found: list[Shot], rivals: list[str], photos: int, seed: int) -> list[Shot]:
    """Draw pictures: first those that can be judged, that is with all rivals and their LQ picture."""
    complete = [all(rival in shot.pictures for rival in rivals) for shot in found]
    if not any(complete):
        has = "; ".join(
            f"{rival} has {next((shot.name for shot in found if rival in shot.pictures), 'none')}" for rival in rivals
        )
        raise ConfigError(f"no picture exists for all methods, so there is nothing to compare ({has})")
    rng = np.random.default_rng(seed)
    order = [int(index) for index in rng.permutation(len(found))]
    order.sort(key=lambda index: (not complete[index], LQ not in found[index].pictures))
    return [found[index] for index in sorted(order[:photos])]


def _missing_note(rival: str, shots: list[Shot]) -> str:
    """A note on the pictures that a method lacks; empty if it lacks none."""
    names = [shot.name for shot in shots if rival not in shot.pictures]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{rival} has no picture of {', '.join(names[:NAMED])}{more}" if names else ""


def _require_same(runs: Sequence[Run], shot: Shot) -> None:
    """Raises ValueError if runs were tested on different pictures of one name."""
    from lit_pure.images.io import same_pixels

    for kind in ("lq", "hq"):
        folders = [(run.label, run.folder / "images" / shot.test_set / kind) for run in runs]
        paths = [(label, as_on_disk(folder / f"{shot.image}.png")) for label, folder in folders]
        (first, one), *others = [(label, path) for label, path in paths if path.is_file()] or [("", Path())]
        for label, other in others:
            if not same_pixels(one, other):
                raise ValueError(
                    f"{first} and {label} have different {kind.upper()} pictures of {shot.name}; "
                    "only runs that were tested on the same pictures (size, seed, degradation) can be compared"
                )
