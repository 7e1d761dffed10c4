"""Makes a paired test set from photographs: HQ pictures and their degraded LQ pictures.

Knows what is cut out of a photograph, and the settings that are written beside the pictures. Knows nothing of the names
of pairs and of which are done (`pairs.py`), nor of the degradation itself (`pipeline.py`), which runs on the CPU, so
that a set does not depend on the device.

Suffixes: B pictures, 3 RGB, H W height and width of the HQ picture [px], h w of the LQ picture.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from torch import Tensor

from lit_pure.config.data import LEAST_LQ_SIDE, DegradationConfig
from lit_pure.datasets.order import DEGRADATION_DRAW
from lit_pure.datasets.photos import SPREAD
from lit_pure.degradation.pairs import (
    RECORDS,
    SETTINGS,
    SHEET,
    SIDES,
    PlannedPair,
    append_line,
    content_of,
    finished,
    record_line,
    require_sources_stay,
    write_records,
)
from lit_pure.degradation.pipeline import apply, draw
from lit_pure.files.atomic import write_whole
from lit_pure.files.outputs import ends_all
from lit_pure.files.work import ForEach
from lit_pure.files.yaml12 import parse, resolved
from lit_pure.images.geometry import resize
from lit_pure.images.grid import labelled_grid
from lit_pure.images.io import BadImage, from_bytes, image_size, read_image, to_bytes, write_png

EPOCH = 0
"""Seeds the draws of a pair, beside seed and index; as for a test set in `lit/data.py`."""
SHOWN, SHOWN_SIDE = 6, 256
"""Pairs on the contact sheet, and the side of the part that is shown of each [HQ px]."""


@dataclass(frozen=True)
class Recipe:
    """Everything that the pairs depend on besides the photographs."""

    degradation: DegradationConfig
    seed: int = 0
    """Of all draws."""
    size: int | None = None
    """Side of the square HQ picture [px]; None takes the whole photograph, cut at right and bottom to fit the scale."""
    crops: int = 1
    """Squares per photograph: the centre first, then squares spread around it."""
    fit: Literal["crop", "resize"] = "crop"
    """Whether to cut squares out of the photograph, or to resize its shorter side to `size` first."""

    def record(self) -> dict[str, Any]:
        """As it is written beside the pairs."""
        return asdict(self) | {"degradation": self.degradation.identity()}


@dataclass(frozen=True)
class DegradedPair:
    """The result of one pair."""

    pair: PlannedPair
    error: str = ""
    """Why it could not be made; empty where it was."""
    skipped: bool = False
    """Whether it already existed."""


def degrade_files(pairs: Sequence[PlannedPair], out: Path, recipe: Recipe) -> Iterator[DegradedPair]:
    """Write hq/NAME.png, lq/NAME.png and a line of degradations.jsonl for each pair, and the settings.

    A pair with a line is skipped, so an interrupted call that is repeated gives the same files as one call.

    Args:
        pairs: as `plan_pairs` gives them.
        out: the folder to write to; made where it is missing.
        recipe: how to make them.

    Raises:
        ValueError: `out` contains other pictures, or pairs of another recipe; or a photograph would be replaced.
        OSError: `out` cannot be written; finished pairs stay.
    """
    done, make = _begin(pairs, out, recipe), _Maker(out, recipe)
    for pair in pairs:
        yield DegradedPair(pair, skipped=True) if pair.name in done else _keep(make(pair), out, done)
    write_records(out, done)


def degrade_each(
    each: ForEach, pairs: Sequence[PlannedPair], out: Path, recipe: Recipe, receive: Callable[[DegradedPair], object]
) -> None:
    """The same, for `each` process to make pairs; what became of a pair is received in no particular order."""
    done = _begin(pairs, out, recipe)
    todo = [pair for pair in pairs if pair.name not in done]
    for pair in pairs:
        if pair.name in done:
            receive(DegradedPair(pair, skipped=True))
    if todo:
        each(partial(_open_maker, out=out, recipe=recipe), todo, lambda number, made: receive(_keep(made, out, done)))
    write_records(out, done)


Made = tuple[DegradedPair, dict[str, Any] | None]
"""A pair and its record; None where it could not be made."""


class _Maker:
    """Makes pairs; of each photograph that has several in a row, it reads the pixels once."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self._out, self._recipe = out, recipe
        self._source: Path | None = None

    def __call__(self, pair: PlannedPair) -> Made:
        try:
            if pair.source != self._source:
                self._photo, self._source = _read_photo(pair.source, self._recipe), pair.source
            return DegradedPair(pair), _make(pair, *self._photo, self._out, self._recipe)
        except BadImage as error:
            return DegradedPair(pair, error=str(error)), None
        except OSError as error:
            if any(ends_all(error, self._out / side) for side in SIDES):
                raise
            reason = f"{pair.source}: no pair is written to {self._out}: {error.strerror or error}; rename it"
            return DegradedPair(pair, error=reason), None


@contextmanager
def _open_maker(device: Any, *, out: Path, recipe: Recipe) -> Iterator[_Maker]:
    """For `ForEach`."""
    yield _Maker(out, recipe)


def _begin(pairs: Sequence[PlannedPair], out: Path, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Prepare the folder; the records of finished pairs, by name."""
    require_sources_stay(pairs, out, ())
    _prepare_folder(out, recipe)
    return finished(out, pairs)


def _keep(made: Made, out: Path, done: dict[str, dict[str, Any]]) -> DegradedPair:
    """Put the record down."""
    pair, record = made
    if record is not None:
        done[pair.pair.name] = record
        append_line(out / RECORDS, record_line(record))
    return pair


def contact_sheet(out: Path) -> Path | None:
    """Write pairs.png: the centres of up to six pairs, spread over the set, with the LQ picture enlarged.

    Returns:
        Its path; None where no pair exists.
    """
    records = [json.loads(line) for line in (out / RECORDS).read_text(encoding="utf-8").splitlines()]
    if not records:
        return None
    chosen = [records[i * len(records) // SHOWN] for i in range(SHOWN)] if len(records) > SHOWN else records
    files = [[out / side / one["image"] for side in SIDES] for one in chosen]
    scale = image_size(files[0][0])[1] // image_size(files[0][1])[1]
    side = min([SHOWN_SIDE // scale, *(min(image_size(lq)) for _, lq in files)])  # [LQ px]
    hq_B3HW = torch.stack([_centre(read_image(hq), side * scale, scale) for hq, _ in files])
    lq_B3hw = torch.stack([_centre(read_image(lq), side, 1) for _, lq in files])
    enlarged_B3HW = resize(lq_B3hw, side * scale, side * scale)
    write_png(out / SHEET, labelled_grid({"LQ, enlarged": enlarged_B3HW, "HQ": hq_B3HW}))
    return out / SHEET


def _centre(image_3HW: Tensor, side: int, step: int) -> Tensor:
    """The central square whose corner is a multiple of `step`, so that both of a pair show the same."""
    top, left = ((length // step - side // step) // 2 * step for length in image_3HW.shape[-2:])
    return _cut(image_3HW, top, left, side, side)


def _prepare_folder(out: Path, recipe: Recipe) -> None:
    """Make the folders and write the settings, or check that existing settings are equal."""
    text = yaml.safe_dump(json.loads(json.dumps(recipe.record())), sort_keys=False)
    made = resolved(parse(text))  # as it is read back
    settings = out / SETTINGS
    if settings.is_file():
        try:
            found = resolved(parse(settings.read_text(encoding="utf-8")))
        except ValueError:
            found = None
        if found != made:
            raise ValueError(f"{settings}: {_first_difference(found, made)}; choose another folder, or delete {out}")
        return
    if any(path for name in SIDES for path in (out / name).glob("*")):
        raise ValueError(f"{out} contains pictures without {SETTINGS}, which may be valuable; choose another folder")
    for name in SIDES:
        (out / name).mkdir(parents=True, exist_ok=True)
    write_whole(settings, text)


def _first_difference(found: Any, made: dict[str, Any]) -> str:
    """The first setting that differs, in words."""
    if not isinstance(found, dict) or not isinstance(found.get("degradation"), dict):
        return "is damaged"
    there, here = ({**settings, **settings["degradation"]} for settings in (found, made))
    keys = (key for key in here if key != "degradation" and there.get(key) != here[key])
    return " ".join(f"was made with {key} {there.get(key)}, not {here[key]}" for key in list(keys)[:1]) or "is damaged"


def _read_photo(path: Path, recipe: Recipe) -> tuple[Tensor, dict[str, Any]]:
    """The photograph (3, H, W), and what a record says of its file.

    Raises BadImage where it cannot be read, or is too small for the recipe.
    """
    try:
        content = content_of(path)
    except OSError as error:
        raise BadImage(f"{path}: {error.strerror or error}") from error
    photo_3HW = read_image(path)
    height, width = photo_3HW.shape[-2:]
    least = LEAST_LQ_SIDE * recipe.degradation.scale
    if recipe.size is not None:
        least = recipe.size if recipe.fit == "crop" else 1
    if min(height, width) < least:
        raise BadImage(f"{path}: {height} x {width} px is too small; the shorter side must be at least {least} px")
    return photo_3HW, content


def _make(pair: PlannedPair, photo_3HW: Tensor, content: dict[str, Any], out: Path, recipe: Recipe) -> dict[str, Any]:
    """Write both pictures; returns the record, with `content` of the photograph's file."""
    hq_3HW, box = _cut_hq(photo_3HW, pair.crop, recipe)
    hq_3HW = from_bytes(to_bytes(hq_3HW))  # degrade exactly the pixels that are written
    rng = np.random.default_rng([recipe.seed, EPOCH, pair.index, DEGRADATION_DRAW])
    degradation = draw(recipe.degradation, rng)
    hq, lq = pair.files(out)
    write_png(hq, hq_3HW)
    write_png(lq, apply(hq_3HW, degradation, recipe.degradation.scale))
    return {
        "image": hq.name,
        "index": pair.index,
        "seed": recipe.seed,
        "source": pair.source.name,
        **content,
        "crop": box,
        "degradation": asdict(degradation),
    }


def _cut_hq(photo_3HW: Tensor, crop: int, recipe: Recipe) -> tuple[Tensor, Sequence[float]]:
    """The HQ picture, and its [top, left, height, width] in the photograph [px]."""
    height, width = photo_3HW.shape[-2:]
    if recipe.size is None:
        scale = recipe.degradation.scale
        whole = [0, 0, height // scale * scale, width // scale * scale]
        return _cut(photo_3HW, *whole), whole
    factor = recipe.size / min(height, width) if recipe.fit == "resize" else 1.0
    sides = [max(recipe.size, round(length * factor)) for length in (height, width)] if factor != 1 else [height, width]
    fitted_3HW = resize(photo_3HW[None], *sides)[0]
    # As in test sets: the centre first, then squares spread around it.
    top, left = (
        int((0.5 + crop * step) % 1 * (side - recipe.size + 1)) for step, side in zip(SPREAD, sides, strict=True)
    )
    box = [top, left, recipe.size, recipe.size]
    in_photo = [one * of / side for one, of, side in zip(box, [height, width] * 2, sides * 2, strict=True)]
    return _cut(fitted_3HW, *box), box if factor == 1 else in_photo


def _cut(image_3HW: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    return image_3HW[:, top : top + height, left : left + width].contiguous()
