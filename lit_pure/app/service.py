"""Restores one upload after the other: everything that the page does, without the page.

Knows runs, whose weights are loaded once and kept until another run is chosen, one photograph at a time, and what a
person is shown of it. Writes nothing outside its folder. Knows neither Gradio nor the network.

Shape legend: h w source [px].
"""

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.app.knobs import Value, changes, knobs_of
from lit_pure.app.uploads import check_upload, read_upload
from lit_pure.baselines.enlarge import enlarger_of
from lit_pure.baselines.table import BASELINES
from lit_pure.config.experiment import RestoringExperiment
from lit_pure.families.settings import settings_of
from lit_pure.families.table import family_of, restorer_of
from lit_pure.images.geometry import enlarge
from lit_pure.images.io import to_bytes, write_png
from lit_pure.restoring.contract import SquareRestorer
from lit_pure.restoring.folder import map_picture
from lit_pure.restoring.photo import PhotoRestorer, RestoredPhoto
from lit_pure.restoring.shared import shared
from lit_pure.restoring.tiled import BySquares
from lit_pure.runs.folder import Run

Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""
STEM = 40
"""Characters of an upload's name that its results keep."""


class Closed(Exception):
    """The service is closed: what was being restored is given up."""


@dataclass(frozen=True)
class Opened:
    """A run whose weights are in memory."""

    run: Run
    given: Sequence[str]
    """Settings KEY=VALUE laid over the run's own."""
    settings: RestoringExperiment
    restorer: SquareRestorer

    @property
    def knobs(self) -> dict[str, Value]:
        """Where its knobs stand, by key."""
        return knobs_of(self.settings, self.restorer.sees_source)

    @property
    def baselines(self) -> list[str]:
        """Names of the baselines that are installed here and enlarge as many times as the run."""
        scale = self.restorer.scale
        return [one.name for one in BASELINES.values() if not one.missing and (not one.weights or one.scale == scale)]

    def turned(self, values: Mapping[str, Any]) -> SquareRestorer:
        """The restorer with these values of its knobs. Raises ConfigError, and ValueError where a value is missing."""
        settings = settings_of(self.run, [*self.given, *changes(self.settings, values)])
        return self.restorer.with_settings(settings)


@dataclass(frozen=True)
class Result:
    """What is shown of one photograph; its files live until the next one is restored."""

    before: Path
    """The photograph, enlarged without any model to the size of `restored`."""
    restored: Path
    maps: Mapping[str, Path]
    """Each map with a fixed scale, by its name and that scale."""
    beside: Mapping[str, Path]
    """What baselines make of the photograph, by name."""
    words: Mapping[str, str]
    """What the model wrote, by name; empty where it writes nothing."""
    summary: str
    """Sizes, run and time, in a sentence."""


class Service:
    """Restores uploads with the weights of a run, one at a time."""

    def __init__(
        self,
        chosen: Mapping[str, Run],
        folder: Path,
        *,
        max_pixels: int,
        given: Sequence[str] = (),
        device: torch.device | None = None,
    ) -> None:
        """
        Args:
            chosen: the runs that can be chosen, by what they are called; the first is opened at once.
            folder: for results; emptied before each photograph.
            max_pixels: of an upload; larger ones are refused.
            given: settings KEY=VALUE laid over those of the first run.
            device: where to compute; None: on the CPU.

        Raises ConfigError and ValueError, as `settings_of` and `restorer_of` do.
        """
        self.runs, self.folder, self.max_pixels = dict(chosen), folder, max_pixels
        self._first, self._given = next(iter(self.runs)), list(given)
        self._device = device or torch.device("cpu")
        self._turn, self._closing = threading.Lock(), threading.Event()
        self._label, self._opened = self._first, self._load(self._first)

    def open(self, label: str) -> Opened:
        """The run of this name; its weights are loaded unless they are those in memory. Errors as of the class."""
        with self._turn:
            return self._open(label)

    def restore(
        self,
        upload: Path,
        label: str,
        values: Mapping[str, Any],
        baselines: Sequence[str] = (),
        report: Report = lambda what, done, whole: None,
    ) -> Result:
        """Restore one upload; waits while another one is restored.

        Args:
            upload: the file; its name decides the noise, as in `lit-pure restore`.
            label: of the run.
            values: of its knobs, by key; those that are left out stand where the run has them.
            baselines: names of methods of others to show beside it.
            report: called as it advances.

        Raises:
            BadImage: the upload is refused, as `check_upload` does, or its pixels are damaged.
            ConfigError: a setting is not legal.
            ValueError: a knob has no value.
            MemoryError: the result does not fit.
            Closed: the service was closed meanwhile.
        """
        check_upload(upload, self.max_pixels)
        with self._turn:
            opened = self._open(label)
            restorer = opened.turned(values)
            photo_3hw = read_upload(upload)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            with shared(restorer) as sharing:
                restored = self._enlarge(BySquares(sharing), photo_3hw, upload.name, opened, report)
            beside: dict[str, Path] = {}
            for name in baselines:
                made = self._enlarge(enlarger_of(name), photo_3hw, name, opened, report)
                beside[name] = self._save(upload, name, made.pixels_3HW)
            return self._result(upload, photo_3hw, restored, opened, beside)

    def close(self) -> None:
        """Give up what is being restored, and restore nothing more; returns when nothing is written any more."""
        self._closing.set()
        with self._turn:
            pass

    def _open(self, label: str) -> Opened:
        if self._closing.is_set():
            raise Closed
        if label != self._label:
            self._opened, self._label = self._load(label), label
        return self._opened

    def _load(self, label: str) -> Opened:
        run, given = self.runs[label], self._given if label == self._first else []
        settings = settings_of(run, given)
        return Opened(run, given, settings, restorer_of(run, settings).to(self._device))

    def _enlarge(
        self, restorer: PhotoRestorer, photo_3hw: Tensor, name: str, opened: Opened, report: Report
    ) -> RestoredPhoto:
        progress = _Advance(report, name, self._closing)
        return restorer.restore_photo(photo_3hw, name, opened.restorer.scale, progress=progress)

    def _result(
        self, upload: Path, photo_3hw: Tensor, restored: RestoredPhoto, opened: Opened, beside: Mapping[str, Path]
    ) -> Result:
        """Write the pictures, and say what was done."""
        height, width = restored.pixels_3HW.shape[-2:]
        maps = {
            f"{name}: 0 (light) to {cells.highest:.1f} {cells.unit} (dark)": self._save(
                upload, name, map_picture(cells, height, width)
            )
            for name, cells in restored.maps.items()
            if cells.highest is not None
        }
        squares = f"{len(restored.tiles):,} square{'s' * (len(restored.tiles) != 1)}"
        tokens = f", {restored.tokens:,} tokens" if restored.tokens else ""
        return Result(
            self._save(upload, "before", to_bytes(enlarge(photo_3hw, opened.restorer.scale))),
            self._save(upload, "restored", restored.pixels_3HW),
            maps,
            beside,
            family_of(opened.run).read_words(restored.words)[1],
            f"{upload.name}, {photo_3hw.shape[2]} x {photo_3hw.shape[1]} px, restored to {width} x {height} px by "
            f"{opened.run.label} in {restored.seconds:.1f} s ({squares}{tokens})",
        )

    def _save(self, upload: Path, what: str, pixels_3HW: Tensor) -> Path:
        path = self.folder / f"{upload.stem[:STEM]}_{what}.png"
        write_png(path, pixels_3HW)
        return path


class _Advance:
    """Reports the progress of one photograph; raises Closed once the service is closed."""

    def __init__(self, report: Report, name: str, closing: threading.Event) -> None:
        self._report, self._name, self._closing = report, name, closing
        self._done = self._whole = 0

    def begin(self, height: int, width: int, squares: int) -> None:
        """The whole is known with `plan`."""
        self._tell()

    def plan(self, tokens: int) -> None:
        """How much there is."""
        self._whole = tokens
        self._tell()

    def __call__(self, made: int) -> None:
        """So much more is done."""
        self._done += made
        self._tell()

    def _tell(self) -> None:
        if self._closing.is_set():
            raise Closed
        self._report(self._name, min(self._done, self._whole), self._whole)
