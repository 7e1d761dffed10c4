"""Files in, files out: what is written, what is done already, what cannot be done and how that is told."""

import errno
import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.config.experiment import RestoringConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.files.atomic import require_writable
from lit_pure.images import large
from lit_pure.images.files import list_photographs
from lit_pure.images.io import read_image, to_bytes, write_png
from lit_pure.images.maps import LEGEND
from lit_pure.images.tiles import Canvas
from lit_pure.restoring import folder
from lit_pure.restoring.folder import RestoredFile, restore_files
from lit_pure.restoring.photo import RestoredPhoto
from lit_pure.restoring.tiled import BySquares
from tests.families.pure.test_restorer import Echo, Progress, enlarged, make


class Bars(dict[str, Progress]):
    """The progress of each file by its name."""

    def __call__(self, path: Path) -> Progress:
        return self.setdefault(path.name, Progress())

    @property
    def tokens(self) -> int:
        return sum(bar.made for bar in self.values())


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return make(RestoringConfig(color_fix="wavelet"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        generator = torch.Generator().manual_seed(seed)
        write_png(tmp_path / "in" / name, torch.rand(3, 20, 24, generator=generator))
    return tmp_path / "in"


def restore(restorer: Restorer, paths: Sequence[Path], out: Path, **options: Any) -> tuple[list[RestoredFile], int]:
    """The outcomes, and the tokens that were spent."""
    bars = Bars()
    return list(restore_files(BySquares(restorer), paths, out, bars, **options)), bars.tokens


def test_three_files_of_each_photograph(restorer: Restorer, photos: Path, tmp_path: Path) -> None:
    outcomes, tokens = restore(restorer, [photos / "a.png"], tmp_path / "out", scale=3, origin="demo/version_0")
    assert [outcome.picture for outcome in outcomes] == [tmp_path / "out" / "a.png"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "a_entropy.png", "a.json"}
    assert read_image(tmp_path / "out" / "a.png").shape == (3, 60, 72)
    entropy_3HW = read_image(tmp_path / "out" / "a_entropy.png")
    assert entropy_3HW.shape == (3, 60, 72 + LEGEND), "with its legend at the right"
    cells_3HW = entropy_3HW[..., :72].unfold(1, 4, 4).unfold(2, 4, 4)
    assert torch.equal(cells_3HW.amin((-1, -2)), cells_3HW.amax((-1, -2))), "one colour in each cell of codes"
    words = json.loads((tmp_path / "out" / "a.json").read_text())
    assert set(words) >= {"text", "blur", "noise", "caption", "mean_entropy_nats", "tokens_per_second"}
    assert words["tokens"] == tokens and words["made"]["source"]["file"] == "a.png"
    assert (words["made"]["with"]["run"], words["made"]["with"]["scale"]) == ("demo/version_0", 3)
    assert [(tile["top"], tile["left"]) for tile in words["tiles"]] == [(0, 0), (0, 8)]


def test_what_is_done_is_left_alone_until_something_changes(restorer: Restorer, photos: Path, tmp_path: Path) -> None:
    paths, out = list_photographs([photos]), tmp_path / "out"
    assert restore(restorer, paths, out)[1] > 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    outcomes, tokens = restore(restorer, paths, out)
    assert tokens == 0 and all(outcome.skipped and "already" in outcome.note for outcome in outcomes)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert restore(restorer, paths, out, again=True)[1] > 0
    assert restore(restorer, paths, out, scale=2)[1] > 0
    assert restore(restorer, paths, out, scale=2, origin="another/version_1")[1] > 0
    other = make(RestoringConfig(color_fix="none"))
    assert restore(other, paths, out, scale=2, origin="another/version_1")[1] > 0
    write_png(photos / "a.png", torch.zeros(3, 20, 24))
    outcomes, _ = restore(other, paths, out, scale=2, origin="another/version_1")
    assert [outcome.skipped for outcome in outcomes] == [False, True]
    (out / "b.png").unlink()
    (out / "a.json").write_text("{")
    assert not any(item.skipped for item in restore(other, paths, out, scale=2, origin="another/version_1")[0])


def test_a_batch_of_another_size_is_no_other_setting(restorer: Restorer, photos: Path, tmp_path: Path) -> None:
    restore(restorer, [photos / "a.png"], tmp_path / "out")
    small = make(RestoringConfig(color_fix="wavelet", batch=1))
    assert restore(small, [photos / "a.png"], tmp_path / "out")[0][0].skipped


def test_files_that_share_a_stem_do_not_overwrite_each_other(restorer: Restorer, photos: Path, tmp_path: Path) -> None:
    (photos / "a.bmp").write_bytes((photos / "a.png").read_bytes())
    outcomes, _ = restore(restorer, list_photographs([photos]), tmp_path / "out")
    names = sorted(outcome.picture.name for outcome in outcomes if outcome.picture)
    assert names == ["a.bmp.png", "a.png.png", "b.png"]


@pytest.mark.parametrize("kind", ["alpha", "grey16", "grey", "palette"])
def test_every_kind_of_file_is_restored_in_its_colours(kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rgba = random.integers(0, 256, (20, 24, 4), dtype=np.uint8)
    picture = {
        "alpha": Image.fromarray(rgba),
        "grey16": Image.fromarray(random.integers(0, 65536, (20, 24), dtype=np.uint16)),
        "grey": Image.fromarray(rgba[..., 0]),
        "palette": Image.fromarray(rgba[..., :3].copy()).convert("P"),
    }[kind]
    picture.save(tmp_path / "a.png")
    if kind == "alpha":
        colors, alpha = rgba[..., :3] / 255, rgba[..., 3:] / 255
        seen = colors * alpha + (1 - alpha)
    elif kind == "grey16":
        seen = np.repeat(np.asarray(picture)[..., None] / 65535, 3, axis=-1)
    else:
        seen = np.asarray(picture.convert("RGB")) / 255
    expected = to_bytes(enlarged(torch.from_numpy(seen).float().permute(2, 0, 1), 4)).int()
    assert restore(make(tokenizer=Echo), [tmp_path / "a.png"], tmp_path / "out")[0][0].picture
    found = to_bytes(read_image(tmp_path / "out" / "a.png")).int()
    assert (found - expected).abs().max() <= 1


def test_bad_files_are_named_and_the_rest_go_on(restorer: Restorer, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_text("words")
    write_png(photos / "small.png", torch.zeros(3, 7, 30))
    gone = photos / "gone.png"
    outcomes, _ = restore(restorer, [*list_photographs([photos]), gone], tmp_path / "out")
    assert {outcome.source.name for outcome in outcomes if outcome.picture} == {"a.png", "b.png"}
    for outcome in outcomes:
        assert outcome.picture or (str(outcome.source) in outcome.note and "\n" not in outcome.note)


def test_a_folder_that_cannot_be_written_to_is_found_before_anything_is_decoded(
    restorer: Restorer, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    bars = Bars()
    with pytest.raises(OSError, match="--out"):
        list(restore_files(BySquares(restorer), [photos / "a.png"], tmp_path / "file" / "out", bars))
    assert not bars
    require_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "\u5199" * 82 + ".png"])
def test_a_name_too_long_for_its_outputs_ends_that_photograph_alone(
    name: str, restorer: Restorer, photos: Path, tmp_path: Path
) -> None:
    (photos / "a.png").rename(photos / name)
    bars = Bars()
    outcomes = list(restore_files(BySquares(restorer), list_photographs([photos]), tmp_path / "out", bars))
    made = {outcome.source.name: outcome for outcome in outcomes}
    assert made["b.png"].picture and made[name].picture is None and set(bars) == {"b.png"}, "nothing is drawn in vain"
    assert str(photos / name) in made[name].note and "too long" in made[name].note


def test_a_photograph_at_the_longest_name_that_fits_is_restored(
    restorer: Restorer, photos: Path, tmp_path: Path
) -> None:
    source = (photos / "a.png").rename(photos / f"{'a' * (255 - len('_entropy.png'))}.png")
    [outcome], _ = restore(restorer, [source], tmp_path / "out")
    assert outcome.picture and outcome.picture.is_file()


def test_a_call_that_was_killed_between_picture_and_record_is_resumed(
    restorer: Restorer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_pure.restoring.folder.map_picture", lambda *cells: {}["killed"])
    with pytest.raises(KeyError):
        restore(restorer, [photos / "a.png"], tmp_path / "out")
    assert (tmp_path / "out" / "a.png").exists()
    monkeypatch.undo()
    [outcome], _ = restore(restorer, [photos / "a.png"], tmp_path / "out")
    assert outcome.picture and not outcome.skipped


def test_a_full_disk_keeps_what_was_finished(
    restorer: Restorer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Image.Image.save

    def full(self: Image.Image, path: Path, **options: Any) -> None:
        if "b.png" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    made = restore_files(BySquares(restorer), list_photographs([photos]), tmp_path / "out", Bars())
    assert next(made).picture == tmp_path / "out" / "a.png"
    with pytest.raises(OSError, match="free some space"):
        next(made)
    monkeypatch.undo()
    outcomes, _ = restore(restorer, list_photographs([photos]), tmp_path / "out")
    assert [outcome.skipped for outcome in outcomes] == [True, False]


def test_a_picture_beyond_memory_is_told_and_the_rest_go_on(
    restorer: Restorer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Canvas.__init__

    def small_memory(self: Canvas, rows: Any, columns: Any) -> None:
        if rows.length > 100:
            raise MemoryError
        begin(self, rows, columns)

    monkeypatch.setattr(Canvas, "__init__", small_memory)
    write_png(photos / "a.png", torch.zeros(3, 40, 40))
    first, second = restore(restorer, list_photographs([photos]), tmp_path / "out")[0]
    assert first.picture is None and "smaller --scale" in first.note and "a.png" in first.note
    assert second.picture is not None


def test_absent_files_and_empty_folders_are_named_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file or folder: .*absent\.png"):
        list_photographs([tmp_path / "absent.png"])
    with pytest.raises(ValueError, match="no pictures"):
        list_photographs([tmp_path])


def test_a_picture_is_gone_before_its_map_is_drawn(
    restorer: Restorer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, alive = list[weakref.ref[torch.Tensor]](), list[bool]()

    class Watching(BySquares):
        def restore_photo(self, *given: Any, **named: Any) -> RestoredPhoto:
            made = super().restore_photo(*given, **named)
            pictures.append(weakref.ref(made.pixels_3HW))
            return made

    def draw(*given: Any) -> torch.Tensor:
        alive.append(pictures[-1]() is not None)
        return drawn(*given)

    drawn = folder.map_picture
    monkeypatch.setattr(folder, "map_picture", draw)
    list(restore_files(Watching(restorer), [photos / "a.png"], tmp_path / "out", Bars()))
    assert alive == [False], "two large pictures never share the memory"


@pytest.mark.parametrize("least", [1, large.LARGE])
def test_maps_are_known_without_their_records_and_pictures_count(
    least: int, restorer: Restorer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "LARGE", least)
    out = tmp_path / "out"
    restore(restorer, list_photographs([photos]), out)
    for record in out.glob("*.json"):
        record.unlink()
    write_png(out / "own_entropy.png", torch.zeros(3, 20, 24))
    assert [path.name for path in list_photographs([out])] == ["a.png", "b.png", "own_entropy.png"]
    (tmp_path / "maps").mkdir()
    (out / "a_entropy.png").rename(tmp_path / "maps/a_entropy.png")
    with pytest.raises(ValueError, match="no pictures"):
        list_photographs([tmp_path / "maps"])
