"""The pictures of a study: pairs of files, given or made.

Knows where pairs come from and what tells one set from another. Knows nothing of what is done with them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lit_pure.config.compose import degradation
from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.sources import find_photos
from lit_pure.degradation.folder import Recipe, degrade_files, plan_pairs
from lit_pure.images.matching import match
from lit_pure.study.plan import SetConfig

FOLDER = "sets"
"""Folder of pairs that were made, by set."""


@dataclass(frozen=True)
class PicturePair:
    """Two files of one picture."""

    name: str
    lq: Path
    hq: Path


@dataclass(frozen=True)
class Pictures:
    """One set of a study."""

    name: str
    config: SetConfig
    recipe: Recipe | None
    """How its LQ pictures are made; None where they are given."""
    sources: tuple[Path, ...]
    """Photographs, or the given LQ pictures."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the set is, in few words: the same wherever it lies.

        It is told by what the pairs are made from, since processors of different kinds round pixels differently.
        """
        listed = "".join(f"{path.name} {path.stat().st_size}\n" for path in self.sources)
        made = json.dumps(asdict(self.recipe), sort_keys=True) if self.recipe else ""
        digest = hashlib.sha256((listed + made).encode()).hexdigest()[:12]
        how = f"preset {self.config.preset}, seed {self.recipe.seed}" if self.recipe else "given pairs"
        return {"set": self.name, "pictures": len(self.sources), "how": how, "digest": digest}

    @property
    def command(self) -> str:
        """The command that makes the same pairs; empty where they are given."""
        if self.recipe is None:
            return ""
        size = f" --size {self.recipe.size}" if self.recipe.size else ""
        return (
            f"lit-pure degrade {self.config.photos} OUT --preset {self.config.preset} --seed {self.recipe.seed}{size}"
        )

    def pairs(self, work: Path) -> Iterator[PicturePair]:
        """All pairs; those that are made lie in a folder of their own below `work`, where what is there already stays.

        Raises ValueError naming a picture that cannot be used.
        """
        if self.recipe is None:
            yield from _given_pairs(self.config)
            return
        folder = work / FOLDER / f"{self.name}-{self.identity['digest']}"  # studies may have several sets of one name
        for outcome in degrade_files(plan_pairs(self.sources, 1), folder, self.recipe):
            if outcome.error:
                raise ValueError(f"{outcome.error}; every picture of a study counts: mend it, or leave it out by names")
            files = (folder / side / f"{outcome.pair.name}.png" for side in ("lq", "hq"))
            yield PicturePair(outcome.pair.name, *files)


def pictures_of(name: str, config: SetConfig, most: int = 0) -> Pictures:
    """A set as it is planned, or its first `most` pictures. Raises ValueError where it is not there."""
    if config.lq:
        paths: Iterable[Path] = [pair.lq for pair in _given_pairs(config)]
        recipe = None
    else:
        found = find_photos(PhotosConfig(source=config.photos, names=list(config.names)), max(32, config.size))
        paths = (photo.path for photo in found.found)
        recipe = Recipe(degradation(config.preset), 0, config.size or None)
    return Pictures(name, config, recipe, tuple(sorted(paths))[: most or None])


def _given_pairs(config: SetConfig) -> list[PicturePair]:
    """The pairs of two folders. Raises ValueError where one is not there, or nothing fits together."""
    found = match([Path(config.lq), Path(config.hq)]).found
    return [PicturePair(name, *files) for name, files in sorted(found.items())]
