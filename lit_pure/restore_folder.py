"""Restores photographs from files to files, one after the other; a bad one is named and the rest go on.

Knows file names and what is written beside each picture. The restoring itself is `restore.py`'s.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lit_pure.images.color import heatmap
from lit_pure.images.geometry import unpad
from lit_pure.images.io import BadImage, list_images, read_image, write_png
from lit_pure.restore import Restoration, Restorer
from lit_pure.sampling.plain import Progress

LEAST_SIDE = 8
"""The smallest side a photograph may have [px]: below, there is nothing to restore."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file: the picture written and what was said, or the reason why not."""

    source: Path
    picture: Path | None = None
    note: str = ""
    """Degradation sentence and caption, or the error."""


def photographs(places: Sequence[Path]) -> list[Path]:
    """The files named, and all pictures of the folders named. Raises ValueError where one does not exist."""
    found: list[Path] = []
    for place in places:
        found += list_images(place) if place.is_dir() else [place]
    if absent := [str(path) for path in found if not path.is_file()]:
        raise ValueError(f"no such file: {', '.join(absent)}")
    return found


def restore_files(
    restorer: Restorer, paths: Sequence[Path], out: Path, progress: Callable[[Path], Progress]
) -> Iterator[Outcome]:
    """Restore each file to `out`: NAME.png, NAME_entropy.png and NAME.json.

    `progress(path)` is called when a file begins and gives what its tokens are reported to. Raises OSError where `out`
    cannot be written: what was finished stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    stems = Counter(path.stem for path in paths)
    for path in paths:
        # Two files that differ in their extension alone keep it, so that none overwrites the other.
        name = path.stem if stems[path.stem] == 1 else path.name
        try:
            photo_3hw = read_image(path)
            if min(photo_3hw.shape[-2:]) < LEAST_SIDE:
                height, width = photo_3hw.shape[-2:]
                raise BadImage(
                    f"{path}: {height} x {width} px is too small; the shorter side must have {LEAST_SIDE} px"
                )
        except BadImage as error:
            yield Outcome(path, note=str(error))
            continue
        restored = restorer.restore_photo(photo_3hw, path.name, progress(path))
        note = restored.text
        if max(photo_3hw.shape[-2:]) > restorer.lq_side:
            note = f"(reduced to {restorer.lq_side} px first, the most this model takes) {note}"
        yield Outcome(path, _write(restored, restorer, out, name), note)


def _write(restored: Restoration, restorer: Restorer, out: Path, name: str) -> Path:
    """The entropy map and the words first, the picture last: where it stands, all three are whole."""
    tokenizer = restorer.tokenizer
    entropy_3HW = heatmap(restored.entropy_hw, 0.0, math.log(tokenizer.config.codes), tokenizer.downsample)
    height, width = restored.image_3HW.shape[-2:]
    write_png(out / f"{name}_entropy.png", unpad(entropy_3HW, height, width).cpu())
    words = {
        "text": restored.text,
        "blur": restored.blur,
        "noise": restored.noise,
        "caption": restored.caption,
        "mean_entropy_nats": float(restored.entropy_hw.mean()),
        "tokens_per_second": round(restored.tokens_per_second, 1),
    }
    (out / f"{name}.json").write_text(json.dumps(words, indent=2) + "\n", encoding="utf-8")
    write_png(out / f"{name}.png", restored.image_3HW.cpu())
    return out / f"{name}.png"
