"""Photographs as a data set of square crops.

Knows that every draw comes from (seed, epoch, index), so that a resumed or resharded run sees the same crops. Knows
nothing of how photographs are found (`sources.py`, `pairs.py`), ordered (`order.py`) or captioned (`captions/`), nor of
degradation, batches or Lightning.

Suffixes: 3 RGB, H W of the HQ photograph or crop [px], h w of the LQ one.
"""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lit_pure.config.data import SHARDS, PhotosConfig
from lit_pure.datasets.captions.source import COMPUTED, caption_source
from lit_pure.datasets.encoded import Photo, fingerprint
from lit_pure.datasets.order import CROP_DRAW, Key
from lit_pure.datasets.pairs import PhotoPair, find_pairs
from lit_pure.files.outputs import LONGEST_NAME
from lit_pure.images.io import BadImage

SPREAD = (0.7548777, 0.5698403)
"""Steps from one fixed crop to the next, down and right, as shares of the free distance. Powers of the plastic ratio:
their multiples fill the unit square evenly for any number of crops (Roberts 2018, the R2 sequence)."""

REMEMBERED_BYTES = 256 * 2**20
"""Decoded photographs that a process keeps (all of BSDS500): a small set is decoded once, a large one repeatedly."""


class Crops(Dataset[dict[str, Any]]):
    """Square crops: random ones for training, fixed ones otherwise.

    An item has `hq_3HW` (uint8, `size` x `size`), `caption`, `name` (of the photograph shown, as one word without
    extension; with `_c0`, `_c1`, ... where a photograph has several crops), `epoch`, `index`, and `unreadable`: the
    names of files that could not be decoded and were replaced by another photograph, joined by ";", normally empty.
    Sets with given LQ pictures also have `lq_3hw` (uint8), the same part of the picture; sets without HQ pictures have
    no `hq_3HW`.

    Args:
        config: the photographs; `config.crops` of each make up an epoch.
        size: side of an HQ crop [px].
        seed: of the random crops.
        training: random positions and flips; otherwise the centre, then points spread around it.
        scale: HQ side over LQ side, for LQ pictures without HQ partners.

    Raises:
        ValueError: no usable photographs, captions that are missing or malformed, or, unless training, two photographs
            with one label, since the label names the pictures of a run.
    """

    def __init__(self, config: PhotosConfig, size: int, seed: int, training: bool, scale: int = 4) -> None:
        self.pairs = find_pairs(config, size, scale)
        self.config, self.crops, self.size, self.seed, self.training = config, config.crops, size, seed, training
        self._caption = None if config.captions == SHARDS else caption_source(config.captions)
        self._check_captions()
        if not training:
            self._check_labels()
        self._remembered: OrderedDict[Photo, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.pairs.found) * self.crops

    def fingerprint(self) -> str:
        """A digest of the set; it changes with the name or the size in bytes of any file."""
        return fingerprint(self.pairs.photos)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The crop of (epoch, index).

        Raises:
            IndexError: no such index.
            ValueError: no photograph of the set can be decoded.
        """
        epoch, index = key
        if not 0 <= index < len(self):
            raise IndexError(f"crop {index} of {len(self)}")
        place, crop = divmod(index, self.crops)
        pair, images, unreadable = self._decode(place)
        cuts = self._cut(images, epoch, index, crop)
        return {
            **cuts,
            "caption": self._words(pair, images, cuts),
            "name": pair.photo.label + (f"_c{crop}" if self.crops > 1 else ""),
            "epoch": epoch,
            "index": index,
            "unreadable": ";".join(unreadable),
        }

    def _decode(self, place: int) -> tuple[PhotoPair, dict[str, Tensor], list[str]]:
        """The pair at a place, or the next that can be decoded; its pixels; the names that could not be decoded."""
        unreadable: list[str] = []
        count, reason = len(self.pairs.found), ""
        for step in range(count):
            pair = self.pairs.found[(place + step) % count]
            try:
                return pair, self._images(pair), unreadable
            except BadImage as error:
                unreadable.append(pair.photo.name)
                reason = str(error)
        raise ValueError(f"none of the {count} photographs can be decoded: {', '.join(unreadable)} (last: {reason})")

    def _images(self, pair: PhotoPair) -> dict[str, Tensor]:
        """All pixels of a pair. Raises BadImage where their size is not what headers and lists say."""
        images = {key: self._read(photo) for key, photo in (("hq_3HW", pair.hq), ("lq_3hw", pair.lq)) if photo}
        grids = {tuple(side // self._step(key) for side in image.shape[1:]) for key, image in images.items()}
        if min(min(grid) for grid in grids) < self.size // self.pairs.ratio or len(grids) > 1:
            shown = " and ".join(f"{image.shape[1]} x {image.shape[2]}" for image in images.values())
            raise BadImage(f"{pair.photo.place}: {shown} px, which is not the size in its header or list")
        return images

    def _step(self, key: str) -> int:
        """Pixels of a picture per pixel of the coarsest picture of its pair, along a side."""
        return self.pairs.ratio if key == "hq_3HW" else 1

    def _read(self, photo: Photo) -> Tensor:
        """uint8 `(3, H, W)`; recently read photographs come from memory."""
        if photo not in self._remembered:
            self._remembered[photo] = photo.read()
        self._remembered.move_to_end(photo)
        while len(self._remembered) > 1 and sum(map(Tensor.numel, self._remembered.values())) > REMEMBERED_BYTES:
            self._remembered.popitem(last=False)
        return self._remembered[photo]

    def _cut(self, images: dict[str, Tensor], epoch: int, index: int, crop: int) -> dict[str, Tensor]:
        """The same square of each picture of a pair, aligned to pixels of the coarsest picture."""
        key, image = next(iter(images.items()))
        side = self.size // self.pairs.ratio
        free_y, free_x = (extent // self._step(key) - side for extent in image.shape[1:])
        flip = False
        if self.training:
            random = np.random.default_rng([self.seed, epoch, index, CROP_DRAW])
            top, left = int(random.integers(free_y + 1)), int(random.integers(free_x + 1))
            flip = bool(random.integers(2))
        else:
            top, left = (
                int((0.5 + crop * step) % 1 * (free + 1)) for step, free in zip(SPREAD, (free_y, free_x), strict=True)
            )
        cuts: dict[str, Tensor] = {}
        for key, image in images.items():
            y, x, extent = (self._step(key) * length for length in (top, left, side))
            cut_3yx = image[:, y : y + extent, x : x + extent]
            cuts[key] = (cut_3yx.flip(-1) if flip else cut_3yx).contiguous()
        return cuts

    def _check_captions(self) -> None:
        """ValueError where a photograph has no caption."""
        photos = [pair.photo for pair in self.pairs.found]
        if self._caption is None:
            missing, remedy = [photo.name for photo in photos if photo.text is None], "KEY.txt beside each in its shard"
        else:
            missing = self._caption.missing([photo.name for photo in photos])
            remedy = 'lines {"image": ..., "caption": ...}'
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise ValueError(f"{self.config.captions}: no caption for {shown}; add {remedy}")

    def _check_labels(self) -> None:
        """ValueError where two photographs have the same label, or one is too long for a picture's name."""
        seen: dict[str, Photo] = {}
        for photo in (pair.photo for pair in self.pairs.found):
            if (more := len(os.fsencode(f"{photo.label}_c{self.crops}.png")) - LONGEST_NAME) > 0:
                raise ValueError(
                    f"{photo.place}: its pictures would be named {photo.label}.png, {more} bytes too long for a file's "
                    "name; rename it, or its folders"
                )
            if (other := seen.setdefault(photo.label, photo)) is not photo:
                raise ValueError(
                    f"{other.place} and {photo.place}: the pictures made from both would be named {photo.label}; "
                    "rename one of them"
                )

    def _words(self, pair: PhotoPair, images: dict[str, Tensor], cuts: dict[str, Tensor]) -> str:
        """The caption; empty where it should be computed from an HQ picture, and none exists."""
        if self._caption is None:
            return pair.photo.caption()
        if self.config.captions in COMPUTED and "hq_3HW" not in cuts:
            return ""
        cut, whole = (pictures.get("hq_3HW", torch.empty(0, dtype=torch.uint8)) for pictures in (cuts, images))
        return self._caption(Path(pair.photo.name), cut, whole)
