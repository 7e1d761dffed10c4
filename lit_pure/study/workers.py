"""Does the jobs of a study, a picture at a time in as many processes as are asked for; what is finished is kept.

Knows order, processes and files. What is done with a picture is `run_job.py`'s.
"""

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from lit_pure.study import score_files
from lit_pure.study.jobs import Job
from lit_pure.study.run_job import perform
from lit_pure.study.score_files import Scored
from lit_pure.study.sets import PicturePair

PARTIAL = "partial"
"""Folder of jobs that are under way, a file of lines each."""
SHOWN = "shown"
"""Folder of pictures that pages show, by job."""

Pool = ProcessPoolExecutor | ThreadPoolExecutor
Progress = Callable[[Job, int], None]
"""Told a job and how many of its pictures are done."""


def run_jobs(jobs: Sequence[Job], out: Path, folder: Path, workers: int, progress: Progress) -> Iterator[Job]:
    """Do what is not done yet, and tell of each when it is finished.

    Args:
        jobs: in their order.
        out: where scores of finished jobs are kept.
        folder: for made pairs, unfinished jobs and pictures to show.
        workers: processes, each computing with one thread; 1 computes here, with one thread too.
        progress: told when a picture is done.

    Raises:
        ValueError: a picture cannot be used. OSError: something cannot be written. What was finished stays.
    """
    with worker_pool(workers) as pool:
        for job in jobs:
            if not is_finished(job, out, folder):
                _run_job(job, out, folder, pool, progress)
                yield job


def is_finished(job: Job, out: Path, folder: Path) -> bool:
    """Whether a job's scores are kept, and its pictures where they are to be shown."""
    there = score_files.read(job, out)
    shown = shown_folder(job, folder)
    return bool(there) and (shown is None or all((shown / f"{name}.png").is_file() for name in there))


def shown_folder(job: Job, folder: Path) -> Path | None:
    """Where a job's pictures are kept; None where they are not."""
    return folder / SHOWN / job.digest if job.pictures.config.shown else None


def _run_job(job: Job, out: Path, folder: Path, pool: Pool, progress: Progress) -> None:
    pairs = list(job.pictures.pairs(folder))
    notes = folder / PARTIAL / f"{job.digest}.jsonl"
    notes.parent.mkdir(parents=True, exist_ok=True)
    shown = shown_folder(job, folder)
    found = {} if shown else _read_partial(notes)
    if found:
        progress(job, len(found))
    for name, scored in score_pairs(job, [pair for pair in pairs if pair.name not in found], shown, pool):
        found[name] = scored
        with notes.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"image": name, **asdict(scored)}) + "\n")
        progress(job, len(found))
    score_files.write(job, out, found)
    notes.unlink()


def score_pairs(job: Job, pairs: Iterable[PicturePair], shown: Path | None, pool: Pool) -> Iterator[tuple[str, Scored]]:
    """Names and scores of pairs, in their order; who stops asking leaves nothing waiting."""
    waiting: list[tuple[str, Future[Scored]]] = [(pair.name, pool.submit(perform, job, pair, shown)) for pair in pairs]
    try:
        for name, future in waiting:
            yield name, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _read_partial(path: Path) -> dict[str, Scored]:
    """What an interrupted job came to; a line that was cut counts for nothing."""
    found: dict[str, Scored] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            note = json.loads(line)
            found[note["image"]] = Scored(note["crc32"], note["scores"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


@contextmanager
def worker_pool(workers: int) -> Iterator[Pool]:
    """Who computes: this process, or several; with one thread in either case, since more of them round otherwise."""
    if workers == 1:
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool
        finally:
            torch.set_num_threads(before)
        return
    start = multiprocessing.get_context("spawn")  # a fork would inherit threads that torch holds locks for
    with ProcessPoolExecutor(workers, start, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
