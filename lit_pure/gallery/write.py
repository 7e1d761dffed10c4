"""Writes a gallery: prepares its pictures, scores and words for the page.

Knows how pictures are packed (lossless WebP), which ones can be compared by their sizes, and what the page's script
reads. Knows nothing of runs, nor of HTML (`page.py`).

Suffixes: 3 RGB, H W height and width of what is shown, h w those of the LQ picture.
"""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image, features
from torch import Tensor

from lit_pure.files.atomic import write_whole
from lit_pure.gallery.gather import Gallery, Shot
from lit_pure.gallery.page import PAGE, Packed, page
from lit_pure.images.geometry import resize
from lit_pure.images.io import BadImage, from_bytes, read_bytes, to_bytes
from lit_pure.images.labels import BICUBIC, GROUND_TRUTH, LQ
from lit_pure.metrics.table import METRICS

LARGEST_WEBP = 16383
"""Longest side of a WebP picture [px]; larger pictures become PNG."""
SAME_RATIO = 0.01
"""Largest relative difference between the aspect ratios of an LQ picture and of what is shown."""
SAME_SIZE = 2
"""Largest difference of sides [px]: some methods crop to whole blocks. A picture that differs more may show a wider
part of the scene, and comparing it would mean nothing."""


@dataclass(frozen=True)
class WrittenGallery:
    """The written page."""

    path: Path
    size: int
    """Of the file [bytes]."""
    id: str
    """Changes with the pictures, methods and plan; votes refer to it."""
    shots: int
    """Pictures shown."""
    comparisons: int
    """Comparisons that a voter is asked for; 0 if there are no two methods to judge."""
    notes: list[str]
    """Pictures that were left out, in sentences."""


def write(gallery: Gallery, folder: Path, comparisons: int, progress: Callable[[], object]) -> WrittenGallery:
    """Read the pictures and write the page, whole or not at all.

    Args:
        gallery: what to show.
        folder: of the page; created if missing.
        comparisons: pairs that a voter is asked about; fewer if there are not as many.
        progress: called after each picture of `gallery.shots`.

    Raises:
        ValueError: no picture can be read.
        OSError: the page cannot be written.
    """
    digest, packed = hashlib.sha256(), list[Packed]()
    shots: list[dict[str, Any]] = []
    notes: list[str] = []
    for shot in gallery.shots:
        pictures, left_out = _read_pictures(shot)
        notes += left_out
        entries = {}
        for method, pixels_3HW in pictures.items():
            height, width = pixels_3HW.shape[-2:]
            entries[method] = [len(packed), width, height]
            packed.append(pack(pixels_3HW))
            digest.update(json.dumps([shot.name, method, height, width]).encode())
            digest.update(pixels_3HW.contiguous().numpy().tobytes())
        if pictures:
            height, width = _size_reference(pictures).shape[-2:]
            words = [asdict(words) for words in shot.words]
            named = {"name": shot.name, "width": width, "height": height}
            shots.append(named | {"pictures": entries, "scores": shot.scores, "words": words})
        progress()
    if not shots:
        raise ValueError(f"no picture of {', '.join(gallery.sets)} can be read: {notes[0]}")
    data = _page_data(gallery, shots, comparisons) | {"notes": [*gallery.notes, *notes]}
    plan = [data[key] for key in ("methods", "rivals", "reference", "seed", "comparisons")]
    digest.update(json.dumps(plan).encode())
    data["id"] = digest.hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PAGE, page(data, packed))
    return WrittenGallery(
        folder / PAGE, (folder / PAGE).stat().st_size, data["id"], len(shots), data["comparisons"], notes
    )


def _page_data(gallery: Gallery, shots: list[dict[str, Any]], comparisons: int) -> dict[str, Any]:
    """What the page's script reads, without notes and id; marks the shots that the blind test asks about."""
    rivals = gallery.rivals if len(gallery.rivals) > 1 else [*gallery.rivals, BICUBIC]
    for shot in shots:
        shot["judged"] = _can_be_judged(shot["pictures"], rivals)
    pairs = len(rivals) * (len(rivals) - 1) // 2
    return {
        "title": f"{', '.join(gallery.sets)}: {len(shots)} picture{'s' * (len(shots) != 1)}",
        "methods": gallery.methods,
        "rivals": rivals,
        "reference": LQ if LQ in gallery.methods else GROUND_TRUTH,
        "metrics": [_describe_metric(key) for key in gallery.metrics],
        "shots": shots,
        "seed": gallery.seed,
        "comparisons": min(comparisons, sum(shot["judged"] for shot in shots) * pairs),
    }


def pack(pixels_3HW: Tensor) -> Packed:
    """A uint8 picture, lossless and small enough for a page."""
    picture = Image.fromarray(pixels_3HW.permute(1, 2, 0).contiguous().numpy())
    content = io.BytesIO()
    webp = features.check("webp") and max(picture.size) <= LARGEST_WEBP
    if webp:  # nine tenths of what the slowest options save, in half of the time
        picture.save(content, format="WEBP", lossless=True, method=2, quality=50)
    else:
        picture.save(content, format="PNG")
    return Packed("image/webp" if webp else "image/png", base64.b64encode(content.getvalue()).decode("ascii"))


def _read_pictures(shot: Shot) -> tuple[dict[str, Tensor], list[str]]:
    """The pictures of a shot as uint8, and notes on those left out; empty if no method's picture can be read."""
    pictures: dict[str, Tensor] = {}
    notes = []
    for method, path in shot.pictures.items():
        try:
            if method != BICUBIC:
                pictures[method] = read_bytes(path)
        except BadImage as error:
            notes.append(f"{method}: left out: {error}")
    if not pictures.keys() - {LQ}:
        return {}, notes
    height, width = _size_reference(pictures).shape[-2:]
    for method, pixels_3HW in list(pictures.items()):
        other_height, other_width = pixels_3HW.shape[-2:]
        if method == LQ:
            fits, wrong = (
                abs(other_height * width / (other_width * height) - 1) <= SAME_RATIO,
                "has another aspect ratio",
            )
        else:
            fits, wrong = max(abs(other_height - height), abs(other_width - width)) <= SAME_SIZE, "has another size"
        if not fits:
            del pictures[method]
            size = f"{other_height} x {other_width} px, not {height} x {width}"
            notes.append(f"{method}: left out: its picture of {shot.name} {wrong} ({size})")
    if LQ in pictures:
        lq_13hw = from_bytes(pictures[LQ])[None].contiguous()
        pictures[BICUBIC] = to_bytes(resize(lq_13hw, height, width))[0]
    return pictures, notes


def _size_reference(pictures: Mapping[str, Tensor]) -> Tensor:
    """The picture whose size is used for all: the ground truth, else the first that a method made."""
    made = [pixels for method, pixels in pictures.items() if method != LQ]
    return pictures.get(GROUND_TRUTH, made[0])


def _can_be_judged(pictures: Mapping[str, Any], rivals: list[str]) -> bool:
    """Whether a blind test can ask about these pictures: all rivals and a reference exist."""
    return all(rival in pictures for rival in rivals) and (LQ in pictures or GROUND_TRUTH in pictures)


def _describe_metric(key: str) -> dict[str, Any]:
    """What the page shows of a metric; one that is not in our table is shown by its key."""
    info = METRICS.get(key)
    if info is None:
        return {"key": key, "label": key, "higher": None, "decimals": 4}
    return {"key": key, "label": info.label, "higher": info.higher_is_better, "decimals": info.decimals}
