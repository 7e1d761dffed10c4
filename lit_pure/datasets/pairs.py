"""Photographs and their low-quality partners, matched by name; either side may be absent from a set.

Knows which names and sizes make a pair. Knows nothing of crops or pixels.

Suffixes: H W of the HQ photograph [px], h w of the LQ one.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.encoded import Photo, PhotoList
from lit_pure.datasets.sources import find_photos, keep_usable, photos_in
from lit_pure.files.names import nfc


@dataclass(frozen=True)
class PhotoPair:
    """The files of one subject; at least one of them is given."""

    hq: Photo | None
    """None where only the low-quality picture is given."""
    lq: Photo | None
    """None where degradation makes the low-quality picture."""

    @property
    def photo(self) -> Photo:
        """The photograph that gives the pair its name."""
        photo = self.hq or self.lq
        assert photo is not None
        return photo


@dataclass(frozen=True)
class PairList:
    """The result of a search for pairs."""

    found: list[PhotoPair]
    """Usable pairs, sorted by name."""
    skipped: list[tuple[Path, str]]
    """Files that were left out, each with the reason."""
    ratio: int
    """HQ side over LQ side; 1 where no LQ pictures are given."""

    @property
    def photos(self) -> list[Photo]:
        """All files of the set, HQ first."""
        return [pair.hq for pair in self.found if pair.hq] + [pair.lq for pair in self.found if pair.lq]


def find_pairs(config: PhotosConfig, size: int, scale: int) -> PairList:
    """The pairs that a configuration names.

    Args:
        config: photographs and low-quality partners.
        size: side of an HQ crop [px]; smaller photographs are left out.
        scale: by which low-quality pictures without partners are enlarged.

    Raises:
        ValueError: nothing is usable (gives a reason for each file); pairs of several ratios, or a ratio that does not
            divide `size`.
    """
    if not config.lq:
        photos = find_photos(config, size)
        return PairList([PhotoPair(photo, None) for photo in photos.found], photos.skipped, 1)
    if not config.source:
        alone = find_photos(PhotosConfig(source=config.lq, names=config.names), size // scale)
        return PairList([PhotoPair(None, photo) for photo in alone.found], alone.skipped, scale)
    pairs = _match_by_name(find_photos(config, size), keep_usable(photos_in(Path(config.lq)), 1), config.lq)
    if not pairs.found:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in pairs.skipped[:10])
        raise ValueError(f"{config.source} and {config.lq}: no pair is usable ({reasons})")
    if size % pairs.ratio:
        raise ValueError(f"{config.lq}: ratio {pairs.ratio} of the pairs does not divide data.size {size}; change it")
    return pairs


def _match_by_name(hqs: PhotoList, lqs: PhotoList, folder: str) -> PairList:
    """Pairs by name without extension. Raises ValueError where usable pairs have several ratios."""
    given = {_stem(photo) for photo in lqs.found}
    hqs, lqs = _without_duplicates(hqs), _without_duplicates(lqs)
    partners = {_stem(photo): photo for photo in lqs.found}
    found: list[PhotoPair] = []
    skipped = [*hqs.skipped, *lqs.skipped]
    ratios: dict[str, int] = {}
    for hq in hqs.found:
        lq = partners.get(_stem(hq))
        ratio = _ratio(hq, lq) if lq else 0
        if lq is None:
            count = "several LQ pictures" if _stem(hq) in given else "no LQ picture"
            skipped.append((hq.place, f"{count} of this name in {folder}"))
        elif not ratio:
            skipped.append((hq.place, f"{_size_text(hq)} px is not a multiple of {_size_text(lq)} px in {folder}"))
        else:
            found.append(PhotoPair(hq, lq))
            ratios[hq.name] = ratio
    counted = Counter(ratios.values()).most_common()
    if len(counted) > 1:
        usual = counted[0][0]
        odd = next(name for name, ratio in ratios.items() if ratio != usual)
        raise ValueError(
            f"{folder}: {odd} is {ratios[odd]} times smaller than its HQ picture, most pictures are {usual} times "
            "smaller; split the set by ratio"
        )
    return PairList(found, skipped, counted[0][0] if counted else 1)


def _without_duplicates(photos: PhotoList) -> PhotoList:
    """Photographs with unique names; a.jpg and a.png are both skipped, since either could be meant."""
    namesakes: dict[str, list[Photo]] = {}
    for photo in photos.found:
        namesakes.setdefault(_stem(photo), []).append(photo)
    skipped = list(photos.skipped)
    for same in namesakes.values():
        for place, photo in enumerate(same if len(same) > 1 else []):
            skipped.append((photo.place, f"{same[place - 1].name} has the same name; remove or rename one of them"))
    return PhotoList([same[0] for same in namesakes.values() if len(same) == 1], skipped)


def _stem(photo: Photo) -> str:
    return nfc(PurePosixPath(photo.name).with_suffix("").as_posix())


def _size_text(photo: Photo) -> str:
    assert photo.size is not None
    return f"{photo.size[0]} x {photo.size[1]}"


def _ratio(hq: Photo, lq: Photo) -> int:
    """HQ side over LQ side; 0 where that is not a whole number, or differs between height and width."""
    assert hq.size is not None and lq.size is not None
    (height, width), (low_height, low_width) = hq.size, lq.size
    ratio = height // low_height
    return ratio if (height, width) == (ratio * low_height, ratio * low_width) else 0
