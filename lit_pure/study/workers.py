"""Runs the jobs of a study, a few pictures at a time per process, and stores finished ones.

Knows order, processes and files. Knows nothing of what is done with a picture (`run_job.py`).
"""

import itertools
import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from lit_pure.files.processes import one_thread_each
from lit_pure.study import score_files
from lit_pure.study.jobs import StudyJob
from lit_pure.study.run_job import perform
from lit_pure.study.score_files import Scored
from lit_pure.study.sets import PicturePair

PARTIAL = "partial"
"""Folder of unfinished jobs, one JSONL file each."""
SHOWN = "shown"
"""Folder of pictures for pages, by job."""

TOGETHER = 4
"""Pictures that a process makes at once: squares of several ones fill a batch."""

Pool = ProcessPoolExecutor | ThreadPoolExecutor
Progress = Callable[[StudyJob, int], None]
"""Called with a job and the number of its finished pictures."""


def run_jobs(jobs: Sequence[StudyJob], out: Path, folder: Path, workers: int, progress: Progress) -> Iterator[StudyJob]:
    """Run all unfinished jobs, and yield each when it is finished.

    Args:
        jobs: in their order.
        out: folder with the scores of finished jobs.
        folder: for made pairs, unfinished jobs and pictures to show.
        workers: number of processes, with one thread each; 1 computes in this process.
        progress: called when a picture is done.

    Raises:
        ValueError: a picture cannot be used. OSError: something cannot be written. Finished pictures stay.
    """
    with worker_pool(workers) as pool:
        for job in jobs:
            if not is_finished(job, out, folder):
                _run_job(job, out, folder, pool, progress)
                yield job


def is_finished(job: StudyJob, out: Path, folder: Path) -> bool:
    """Whether the scores of a job are stored, and its pictures where the page shows them."""
    scores = score_files.read(job, out)
    shown = shown_folder(job, folder)
    return bool(scores) and (shown is None or all((shown / f"{name}.png").is_file() for name in scores))


def shown_folder(job: StudyJob, folder: Path) -> Path | None:
    """The folder of a job's pictures; None where the page does not show them."""
    return folder / SHOWN / job.digest if job.pictures.config.shown else None


def _run_job(job: StudyJob, out: Path, folder: Path, pool: Pool, progress: Progress) -> None:
    pairs = list(job.pictures.pairs(folder))
    notes = folder / PARTIAL / f"{job.digest}.jsonl"
    notes.parent.mkdir(parents=True, exist_ok=True)
    shown = shown_folder(job, folder)
    found = {} if shown else score_files.read_unfinished(notes)
    if found:
        progress(job, len(found))
    for name, scored in score_pairs(job, pairs, shown, pool, set(found)):
        found[name] = scored
        with notes.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"image": name, **asdict(scored)}) + "\n")
        progress(job, len(found))
    score_files.write(job, out, found)
    notes.unlink()


def score_pairs(
    job: StudyJob, pairs: Iterable[PicturePair], shown: Path | None, pool: Pool, done: Container[str] = ()
) -> Iterator[tuple[str, Scored]]:
    """Names and scores of pairs, in order; closing this generator cancels the remaining pairs.

    Pairs are made in groups. A group of which all names are done is left out, others are made whole: which squares
    share a batch decides how sums are rounded, and a draw can hang on that.
    """
    waiting: list[tuple[list[PicturePair], Future[list[Scored]]]] = []
    left = iter(pairs)
    while some := list(itertools.islice(left, TOGETHER)):
        if not all(pair.name in done for pair in some):
            waiting.append((some, pool.submit(perform, job, some, shown)))
    try:
        for some, future in waiting:
            for pair, scored in zip(some, future.result(), strict=True):
                yield pair.name, scored
    finally:
        for _, future in waiting:
            future.cancel()


@contextmanager
def worker_pool(workers: int) -> Iterator[Pool]:
    """The pool of workers, with one thread each, since more threads would round differently; 1 is this process."""
    if workers == 1:
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool
        finally:
            torch.set_num_threads(before)
        return
    with one_thread_each(workers) as pool:
        yield pool
