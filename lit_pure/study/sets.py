"""The pictures of a study: pairs of files, given or made.

Knows where pairs come from and what identifies a set. Knows nothing of what is done with them.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_pure.config.compose import degradation
from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.sources import find_photos
from lit_pure.degradation.folder import Recipe, degrade_files
from lit_pure.degradation.pairs import plan_pairs
from lit_pure.images.matching import match
from lit_pure.study.plan import SetConfig

FOLDER = "sets"
"""Folder of made pairs, by set."""


@dataclass(frozen=True)
class PicturePair:
    """The LQ and the HQ file of one picture."""

    name: str
    lq: Path
    hq: Path


@dataclass(frozen=True)
class Pictures:
    """One set of a study."""

    name: str
    config: SetConfig
    recipe: Recipe | None
    """How its LQ pictures are made; None for given pairs."""
    sources: tuple[Path, ...]
    """Photographs, or the given LQ pictures."""

    @property
    def identity(self) -> dict[str, Any]:
        """A short identity of the set, independent of its folder.

        It depends on the sources of the pairs, not on made pixels, which processors of different kinds round
        differently.
        """
        listed = "".join(f"{path.name} {path.stat().st_size}\n" for path in self.sources)
        made = json.dumps(self.recipe.record(), sort_keys=True) if self.recipe else ""
        digest = hashlib.sha256((listed + made).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        how = f"preset {self.config.preset}, seed {self.recipe.seed}" if self.recipe else "given pairs"
        return {"set": self.name, "pictures": len(self.sources), "how": how, "digest": digest}

    @property
    def command(self) -> str:
        """The command that makes the same pairs; empty for given pairs."""
        if self.recipe is None:
            return ""
        size = f" --size {self.recipe.size}" if self.recipe.size else ""
        photos, preset = shlex.quote(self.config.photos), shlex.quote(self.config.preset)
        return f"lit-pure degrade {photos} OUT --preset {preset} --seed {self.recipe.seed}{size}"

    def pairs(self, work: Path) -> Iterator[PicturePair]:
        """All pairs; made pairs are stored in a separate folder below `work` and reused.

        Raises ValueError naming a picture that cannot be used.
        """
        if self.recipe is None:
            wanted = set(self.sources)
            yield from (pair for pair in _given_pairs(self.config) if pair.lq in wanted)
            return
        folder = work / FOLDER / f"{self.name}-{self.identity['digest']}"  # several sets may have one name
        for outcome in degrade_files(plan_pairs(self.sources, 1), folder, self.recipe):
            if outcome.error:
                raise ValueError(f"{outcome.error}; a study needs every picture: repair it, or exclude it with `names`")
            files = (folder / side / f"{outcome.pair.name}.png" for side in ("lq", "hq"))
            yield PicturePair(outcome.pair.name, *files)


def pictures_of(name: str, config: SetConfig, most: int = 0) -> Pictures:
    """A planned set, or its first `most` pictures. Raises ValueError where pictures are missing."""
    if config.lq:
        paths: Iterable[Path] = [pair.lq for pair in _given_pairs(config)]
        recipe = None
    else:
        found = find_photos(PhotosConfig(source=config.photos, names=list(config.names)), max(32, config.size))
        paths = (photo.path for photo in found.found)
        recipe = Recipe(degradation(config.preset), 0, config.size or None)
    return Pictures(name, config, recipe, tuple(sorted(paths))[: most or None])


def _given_pairs(config: SetConfig) -> list[PicturePair]:
    """The pairs of two folders. Raises ValueError where a folder is missing, or no names match."""
    found = match([Path(config.lq), Path(config.hq)]).found
    if missing := [name for name in config.names if name not in found]:
        raise ValueError(f"{config.lq} has no {missing[0]}; correct `names`: they are file names without extension")
    found = {name: found[name] for name in config.names or found}
    return [PicturePair(name, *files) for name, files in sorted(found.items())]
