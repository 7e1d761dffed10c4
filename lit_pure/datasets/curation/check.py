"""Checks a folder of pictures before training or testing: reads every file and reports each problem.

Knows files, duplicates, pairs and the list that training takes. Knows nothing of a file's content (`examine.py`). Files
are read in separate processes, so that a decoder that crashes costs one file, not the whole check.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from lit_pure.datasets.curation.examine import Examination, examine
from lit_pure.files.names import nfc
from lit_pure.files.processes import start_worker
from lit_pure.files.sharing import keep_sockets_short
from lit_pure.images.files import EXTENSIONS, files_below, sort_files

Examine = Callable[[Path], Examination]
PROBLEMS = (
    "unreadable",
    "cut short",
    "unsupported",
    "huge",
    "too small",
    "duplicate",
    "unpaired",
    "misfit",
)
"""All kinds of problems, in the order of the report."""
AHEAD = 4
"""Files per process that are submitted in advance; bounds memory."""


@dataclass(frozen=True)
class Finding:
    """One problem or warning about one file."""

    kind: str
    file: str
    reason: str


@dataclass
class CheckReport:
    """The result of a check."""

    folder: Path
    pictures: int = 0
    """Number of files that were read."""
    good: dict[Path, Examination] = field(default_factory=dict)
    """Pictures of the folder (not of its LQ folder) without problems, by path below it, sorted."""
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files that are not pictures by their extension; they were not read."""

    def list_lines(self) -> list[str]:
        """BasicSR's meta_info of the good pictures: `sub/name.png (height,width,3)`, sorted."""
        return [f"{path.as_posix()} ({look.height},{look.width},3)" for path, look in self.good.items()]


@dataclass(frozen=True)
class FolderFiles:
    """The files below a folder, sorted."""

    pictures: list[Path]
    others: list[Path]


def find_files(folder: Path) -> FolderFiles:
    """All files below a folder, by extension; links are followed and hidden folders ignored, as in training.

    Raises ValueError where it contains no picture, or two whose names look the same.
    """
    paths = files_below(folder)
    pictures = sort_files(paths).pictures
    if not pictures:
        raise ValueError(f"{folder}: no pictures in it or below (looked for {' '.join(EXTENSIONS)})")
    return FolderFiles(pictures, sorted(set(paths) - set(pictures)))


def check(
    folder: Path,
    lq: Path | None = None,
    *,
    least: int,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    examine: Examine = examine,
) -> CheckReport:
    """Read all pictures below a folder, and below the folder of their LQ partners.

    Args:
        folder: the pictures (HR ones where there are pairs).
        lq: their partners, with the same path below their folder except for the extension, as in training.
        least: least shorter side of the pictures in `folder` [px].
        workers: number of processes that read.
        progress: called after each file with the number of files read and their total.
        examine: checks one file; called in another process.

    Raises:
        ValueError: a folder contains no picture.
    """
    sets = [find_files(place) for place in ([folder] if lq is None else [folder, lq])]
    paths = [path for files in sets for path in files.pictures]
    report = CheckReport(folder, len(paths), others=[str(path) for files in sets for path in files.others])
    looks: dict[Path, Examination] = {}
    for path, look in examine_all(paths, workers, examine):
        looks[path] = look
        progress(len(looks), len(paths))
    found: list[Finding] = []
    for path in paths:
        look = looks[path]
        report.warnings += [Finding(kind, str(path), words) for kind, words in look.warnings]
        if look.problem:
            found.append(Finding(look.problem, str(path), look.reason))
    for files in sets:
        found += _duplicates({path: looks[path] for path in files.pictures})
    found += _too_small({path: looks[path] for path in sets[0].pictures}, least)
    if lq is not None:
        found += _pairs(folder, lq, looks, *(files.pictures for files in sets))
    report.problems = sorted(found, key=lambda finding: (PROBLEMS.index(finding.kind), finding.file))
    bad = {finding.file for finding in found}
    alone = {_key(path, lq) for path in sets[1].pictures if str(path) in bad} if lq else set()  # the partner is bad
    usable = [path for path in sets[0].pictures if str(path) not in bad and _key(path, folder) not in alone]
    report.good = {path.relative_to(folder): looks[path] for path in usable}
    return report


def examine_all(paths: Sequence[Path], workers: int, examine: Examine) -> Iterator[tuple[Path, Examination]]:
    """Each file once with its examination, in order of completion, even where reading a file kills the process."""
    waiting = deque(paths)
    while waiting:
        flying: dict[Future[Examination], Path] = {}
        try:
            with _reader_pool(workers) as pool:
                while waiting or flying:
                    while waiting and len(flying) < AHEAD * workers:
                        flying[pool.submit(examine, waiting[0])] = waiting[0]
                        waiting.popleft()
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        look = _result(future)
                        yield flying.pop(future), look
        except BrokenProcessPool:  # the error does not name the file: each pending one is read alone
            for path in flying.values():
                yield path, _examine_alone(path, examine)


def _reader_pool(workers: int) -> ProcessPoolExecutor:
    """Processes that read; forked from a clean process that has imported torch, so that many start as fast as one."""
    keep_sockets_short()
    context = get_context("forkserver")
    context.set_forkserver_preload([examine.__module__])
    return ProcessPoolExecutor(workers, context, start_worker)


def _examine_alone(path: Path, examine: Examine) -> Examination:
    try:
        with _reader_pool(1) as pool:
            return _result(pool.submit(examine, path))
    except BrokenProcessPool:
        reason = "reading it kills the reading process (the decoder crashes, or memory runs out)"
        return Examination(problem="unreadable", reason=reason)


def _result(future: "Future[Examination]") -> Examination:
    """The examination. Raises only BrokenProcessPool, so that a check continues after any other error."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:
        return Examination(problem="unreadable", reason=f"{type(error).__name__}: {error}")


def _duplicates(looks: dict[Path, Examination]) -> Iterator[Finding]:
    """Pictures with the pixels of an earlier file; the first by name is kept."""
    first: dict[str, Path] = {}
    for path, look in looks.items():
        if look.pixels and (same := first.setdefault(look.pixels, path)) != path:
            yield Finding("duplicate", str(path), f"the same pixels as {same}")


def _too_small(looks: dict[Path, Examination], least: int) -> Iterator[Finding]:
    for path, look in looks.items():
        if 0 < min(look.height, look.width) < least:
            reason = f"{look.height} x {look.width} px; the shorter side must be at least {least}"
            yield Finding("too small", str(path), reason)


def _key(path: Path, folder: Path) -> str:
    """The path that both pictures of a pair share, in NFC."""
    return nfc(path.relative_to(folder).with_suffix("").as_posix())


def _pairs(
    hq: Path, lq: Path, looks: dict[Path, Examination], hq_pictures: Sequence[Path], lq_pictures: Sequence[Path]
) -> Iterator[Finding]:
    """HR without LR, LR without HR, and pairs whose ratio is not whole, or differs from most pairs."""
    keys: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for path in hq_pictures:
        keys[_key(path, hq)][0].append(path)
    for path in lq_pictures:
        keys[_key(path, lq)][1].append(path)
    ratios: dict[Path, float] = {}
    for key, (high, low) in sorted(keys.items()):
        if not high or not low:
            absent = "LR" if not low else "HR"
            yield from (Finding("unpaired", str(path), f"no {absent} picture named {key}") for path in high or low)
        elif len(high) > 1 or len(low) > 1:
            reason = f"{len(high)} HR and {len(low)} LR pictures named {key}; there must be one of each"
            doubled = [path for side in (high, low) if len(side) > 1 for path in side]
            yield from (Finding("unpaired", str(path), reason) for path in doubled)
        elif (large := looks[high[0]]).height and (small := looks[low[0]]).height:
            across, down = large.width / small.width, large.height / small.height
            if across == down == int(down):
                ratios[high[0]] = down
            else:
                sizes = f"{large.height} x {large.width} px to {small.height} x {small.width}"
                yield Finding("misfit", str(high[0]), f"{sizes}: not a whole multiple of its LR picture")
    usual = Counter(ratios.values()).most_common(1)
    for path, ratio in ratios.items():
        if ratio != usual[0][0]:
            reason = f"{ratio:g} times its LR picture; most pairs here have {usual[0][0]:g}"
            yield Finding("misfit", str(path), reason)
