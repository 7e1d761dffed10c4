"""Photographs as a data set: which files, which crop of them, in which order.

Knows folders, the photographs inside scikit-image, and that every draw comes from (seed, epoch, index), so that a
resumed or resharded run sees the same crops. Knows nothing of degradation, batches or Lightning; captions come from
`captions.py`.

Suffixes: 3 RGB, H height, W width.
"""

import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.captions import caption_source
from lit_pure.images.io import BadImage, image_size, list_images, read_image, to_bytes

Key = tuple[int, int]
"""(epoch, index): what a sampler yields and a data set takes."""

SKIMAGE_PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
"""The colour photographs in scikit-image's wheel; the two motorcycles are a stereo pair, so keep them in one set."""


SPREAD = (0.7548777, 0.5698403)
"""Steps from one fixed crop to the next, down and right, in shares of the free way. Powers of the plastic ratio: their
multiples fill the unit square evenly at any number (Roberts 2018, the R2 sequence)."""


REMEMBERED_BYTES = 64 * 2**20
"""Decoded photographs that a process keeps: a small set is decoded once, a large one as often as it comes up."""


@dataclass(frozen=True)
class PhotoList:
    """Photographs found."""

    paths: list[Path]
    """Those to use, sorted by name."""
    skipped: list[tuple[Path, str]]
    """Those left out, each with the reason."""


def find_photos(config: PhotosConfig, least_side: int) -> PhotoList:
    """The photographs that a configuration names, judged by their headers.

    Args:
        config: source and names.
        least_side: shorter side that a photograph must have [px].

    Raises:
        ValueError: the source or a name does not exist, or no photograph is left; says why for each.
    """
    candidates = _skimage_photos() if config.source == "skimage" else list_images(Path(config.source))
    if config.names:
        candidates = _named(candidates, config)
    paths: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for path in candidates:
        try:
            height, width = image_size(path)
        except BadImage as error:
            skipped.append((path, str(error).removeprefix(f"{path}: ")))
            continue
        if min(height, width) < least_side:
            skipped.append((path, f"{height} x {width} px, shorter than {least_side}"))
        else:
            paths.append(path)
    if not paths:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in skipped[:10])
        raise ValueError(f"{config.source}: none of {len(skipped)} photographs can be used ({reasons})")
    return PhotoList(paths, skipped)


def fingerprint(paths: Sequence[Path]) -> str:
    """SHA-256 over names and sizes in bytes, in hexadecimal: cheap, and changes when a data set is exchanged."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(f"{path.name}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()


class Crops(Dataset[dict[str, Any]]):
    """Square crops: random ones for training, fixed ones otherwise.

    An item has `hq_3HW` (uint8, `size` x `size`), `caption`, `name` (the photograph's stem, with `_c0`, `_c1`, ...
    where there are several crops), `epoch`, `index`, and `unreadable`: the names of files that could not be decoded
    and that another photograph stands in for, joined by ";", normally empty. The name is that of the photograph shown.

    Args:
        config: the photographs; `config.crops` of each make up an epoch.
        size: side of a crop [px].
        seed: of the random crops.
        training: random positions and flips; otherwise the centre, and for several crops points spread around it.

    Raises:
        ValueError: no usable photographs, or captions that are missing or malformed.
    """

    def __init__(self, config: PhotosConfig, size: int, seed: int, training: bool) -> None:
        self.photos = find_photos(config, size)
        self.caption = caption_source(config.captions)
        if missing := self.caption.missing([path.name for path in self.photos.paths]):
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise ValueError(f'{config.captions}: no caption for {shown}; add lines {{"image": ..., "caption": ...}}')
        self.crops, self.size, self.seed, self.training = config.crops, size, seed, training
        self._remembered: OrderedDict[Path, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.photos.paths) * self.crops

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """The crop of (epoch, index).

        Raises:
            IndexError: no such index.
            ValueError: not one photograph of the set can be decoded.
        """
        epoch, index = key
        if not 0 <= index < len(self):
            raise IndexError(f"crop {index} of {len(self)}")
        photo, crop = divmod(index, self.crops)
        path, image_3HW, unreadable = self._decode(photo)
        hq_3HW = self._cut(image_3HW, epoch, index, crop).contiguous()
        return {
            "hq_3HW": hq_3HW,
            "caption": self.caption(path, hq_3HW),
            "name": path.stem + (f"_c{crop}" if self.crops > 1 else ""),
            "epoch": epoch,
            "index": index,
            "unreadable": ";".join(unreadable),
        }

    def _decode(self, photo: int) -> tuple[Path, Tensor, list[str]]:
        """The photograph, or the next one that can be decoded; its bytes; names of those that could not."""
        unreadable: list[str] = []
        count, reason = len(self.photos.paths), ""
        for step in range(count):
            path = self.photos.paths[(photo + step) % count]
            try:
                return path, self._read(path), unreadable
            except BadImage as error:
                unreadable.append(path.name)
                reason = str(error)
        raise ValueError(f"none of the {count} photographs can be decoded: {', '.join(unreadable)} (last: {reason})")

    def _read(self, path: Path) -> Tensor:
        """uint8 `(3, H, W)`, from memory where it was read lately."""
        if path not in self._remembered:
            self._remembered[path] = to_bytes(read_image(path))
        self._remembered.move_to_end(path)
        while len(self._remembered) > 1 and sum(map(Tensor.numel, self._remembered.values())) > REMEMBERED_BYTES:
            self._remembered.popitem(last=False)
        return self._remembered[path]

    def _cut(self, image_3HW: Tensor, epoch: int, index: int, crop: int) -> Tensor:
        """`(3, size, size)` out of a photograph."""
        free_y, free_x = image_3HW.shape[1] - self.size, image_3HW.shape[2] - self.size
        flip = False
        if self.training:
            random = np.random.default_rng([self.seed, epoch, index, 0])
            top, left = int(random.integers(free_y + 1)), int(random.integers(free_x + 1))
            flip = bool(random.integers(2))
        else:
            top, left = (
                int((0.5 + crop * step) % 1 * (free + 1)) for step, free in zip(SPREAD, (free_y, free_x), strict=True)
            )
        cut_3HW = image_3HW[:, top : top + self.size, left : left + self.size]
        return cut_3HW.flip(-1) if flip else cut_3HW


class EpochSampler(Sampler[Key]):
    """Keys (epoch, index) in an order drawn from (seed, epoch), dealt out to processes.

    All processes together yield every index once per epoch; where their number does not divide the length, the first
    ones again, so that all take equally many steps. Lightning calls `set_epoch` and must not wrap the sampler
    (`use_distributed_sampler=False`).

    Args:
        length: of the data set.
        seed: of the order.
        shuffle: a new order and new draws each epoch; otherwise always (0, 0), (0, 1), (0, 2), ...
        rank: of this process, from 0.
        world: number of processes.

    Raises:
        ValueError: an empty data set, or a rank outside the world.
    """

    def __init__(self, length: int, seed: int, shuffle: bool, rank: int = 0, world: int = 1) -> None:
        if length < 1:
            raise ValueError(f"cannot sample from a data set of {length} crops")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is outside a world of {world} processes")
        self.length, self.seed, self.shuffle, self.rank, self.world = length, seed, shuffle, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration; without `shuffle` every epoch is 0, so that tests always see the same."""
        self.epoch = epoch if self.shuffle else 0

    def __len__(self) -> int:
        return -(-self.length // self.world)

    def __iter__(self) -> Iterator[Key]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        own = np.resize(order, len(self) * self.world)[self.rank :: self.world]
        return iter([(self.epoch, int(index)) for index in own])


def _skimage_photos() -> list[Path]:
    """Where scikit-image keeps its photographs; found without importing it (slow)."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ValueError("source skimage: scikit-image is not installed; run `make setup` or name a folder")
    return [Path(spec.origin).parent / "data" / name for name in SKIMAGE_PHOTOS]


def _named(candidates: list[Path], config: PhotosConfig) -> list[Path]:
    """Those candidates whose stems the configuration names; ValueError for names that match none."""
    stems = sorted({path.stem for path in candidates})
    if unknown := [name for name in config.names if name not in stems]:
        near = sorted({match for name in unknown for match in get_close_matches(name, stems)})
        hint = f"near: {', '.join(near)}" if near else f"there are {', '.join(stems[:10])}"
        raise ValueError(f"{config.source}: no photograph named {', '.join(unknown)} (without extension); {hint}")
    return [path for path in candidates if path.stem in config.names]
