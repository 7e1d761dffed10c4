"""Adds baselines to a gallery, as methods that are judged beside runs.

Knows where their pictures are kept, so that a gallery made again computes none twice. Knows nothing of the page, nor of
how a baseline enlarges.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lit_pure.baselines.enlarge import Enlarger
from lit_pure.baselines.table import BASELINES
from lit_pure.gallery.gather import Gallery, Shot
from lit_pure.gallery.records import read_scores
from lit_pure.images.labels import LQ
from lit_pure.metrics.rows import FILE as SCORES
from lit_pure.restoring.folder import restore_files

FOLDER = "baselines"
"""Below the gallery's folder: SET/BASELINE/IMAGE.png; a `scores.csv` there, written by `evaluate --csv`, is shown."""


class _Untold:
    """Progress that nobody follows: a picture of a test takes seconds."""

    def begin(self, height: int, width: int, squares: int) -> None:
        """Nothing."""

    def plan(self, tokens: int) -> None:
        """Nothing."""

    def __call__(self, made: int) -> None:
        """Nothing."""


def with_baselines(gallery: Gallery, names: Sequence[str], out: Path, progress: Callable[[], object]) -> Gallery:
    """The gallery with a further method for each name, made of the LQ pictures of its shots.

    Args:
        gallery: as gathered.
        names: of baselines.
        out: the gallery's folder; what is there already is not made again.
        progress: called after each picture.

    Raises:
        ConfigError: a baseline is not installed.
        OSError: the folder cannot be written to.
    """
    for name in names:
        enlarger = Enlarger(BASELINES[name])
        shots, notes = list[Shot](), list[str]()
        for test_set in gallery.sets:
            own = [shot for shot in gallery.shots if shot.test_set == test_set]
            folder = out / FOLDER / test_set / name
            sources = {shot.pictures[LQ]: shot for shot in own if LQ in shot.pictures}
            made: dict[str, Path] = {}
            # Another run's LQ pictures may have the same names; the folder is the gallery's own.
            for outcome in restore_files(enlarger, list(sources), folder, lambda path: _Untold(), replaces=True):
                if outcome.picture:
                    made[sources[outcome.source].image] = outcome.picture
                else:
                    notes.append(f"{name}: left out: {outcome.note}")
                progress()
            scores = read_scores(folder / SCORES).get(name, {})
            shots += [_with(shot, name, made, scores.get(shot.image, {})) for shot in own]
        keys = dict.fromkeys(key for shot in shots for key in shot.scores.get(name, {}))
        gallery = replace(
            gallery,
            shots=shots,
            rivals=[*gallery.rivals, name],
            notes=[*gallery.notes, *notes],
            metrics=list(dict.fromkeys([*gallery.metrics, *keys])),
        )
    return gallery


def _with(shot: Shot, name: str, made: dict[str, Path], scores: dict[str, float]) -> Shot:
    """The shot with a baseline's picture and scores, where it has them."""
    pictures = shot.pictures | ({name: made[shot.image]} if shot.image in made else {})
    return replace(shot, pictures=pictures, scores=shot.scores | ({name: scores} if scores else {}))
