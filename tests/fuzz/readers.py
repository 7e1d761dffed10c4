"""Every file that is read: what stands in a whole one, and its reader. Knows nothing of damage."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save

from lit_pure.config import compose as composed
from lit_pure.config.compose import PROJECT, compose, compose_as, degradation, load
from lit_pure.config.data import DegradationConfig, PhotosConfig
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import VQConfig
from lit_pure.datasets.captions.sidecar import read_sidecar
from lit_pure.datasets.shards import read_shards, write_shards
from lit_pure.datasets.sources import find_photos
from lit_pure.degradation.folder import Recipe, degrade_files
from lit_pure.degradation.pairs import finished, plan_pairs
from lit_pure.families.pure.plan import stored_bytes
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.families.pure.start_check import FIXED, check_start
from lit_pure.files.atomic import write_json
from lit_pure.gallery.records import read_answers, read_scores
from lit_pure.gallery.votes import read_ballot
from lit_pure.lit.callbacks.skip_nonfinite import SkipNonFinite
from lit_pure.metrics.protocols import protocol
from lit_pure.metrics.rows import ScoreRow, read_rows, write_rows
from lit_pure.models.weights import files_in_index, read_config
from lit_pure.report import published
from lit_pure.report.measured import run_results, timing_results
from lit_pure.restoring.contract import CodeSquare
from lit_pure.restoring.journal import Journal
from lit_pure.restoring.outputs import plan_restorations
from lit_pure.runs import checkpoints
from lit_pure.runs.curves import read_curves
from lit_pure.runs.folder import Run
from lit_pure.study import score_files
from lit_pure.study.plan import plan_of
from tests.fuzz.cases import write

V = "runs/demo/version_0"
RUN, PHOTO, RECIPE = Run(Path(V)), Path("photos/a.png"), Recipe(DegradationConfig())
ANSWERS, INDEX = RUN.folder / "images/demo/answers.jsonl", "index/model.safetensors.index.json"
PROVENANCE = {
    "started": "2026",
    "needs": {"tokenizer": "tokenizer/nano/shipped", "dem": "dem/bsds500/shipped"},
    "seed": 0,
}
SUMMARY = {
    "name": "demo",
    "family": "pure",
    "steps": 3,
    "test/demo/psnr": 20.5,
    "metrics": {"border": 4},
    "pictures": [],
}
VOTES = {
    "format": "lit_pure votes 1", "gallery": "0123456789ab", "voter": "Anna", "methods": ["A", "B"], "planned": 1,
    "votes": [{"image": "0", "left": "A", "right": "B", "choice": "left"}],
}  # fmt: skip
COMPLEXITY = {"parameters": {"total": 5}, "seconds_per_image": 1.5, "size": 128, "device": "cpu", "engine": "plain"}
WEIGHTS = {"kind": "tokenizer", "config": {"codes": 512, "channels": [32, 32]}, "sha256": {}}
MARK = {"step": 3, "files": {"a": 1}, "val/loss": 1.5}
CAPTIONS = b'{"image": "a.png", "caption": "A cat."}\n{"image": "b.png", "caption": "A dog."}\n'
CURVES = b"step,train/loss,val/loss\n0,3.5,\n1,3.25,\n2,,3.0\n"
NOTES = b'{"image": "a", "crc32": "00ff", "scores": {"psnr": 20.5}}\n' * 2
RECORD = {"made": {"from": "../photos/a.png", "source": {"file": "a.png"}}, "tokens": 3}
JOB: Any = SimpleNamespace(pictures=SimpleNamespace(name="a"), digest="0", metrics=["psnr"])
GRID = b"base: demo\nsweep:\n  sampling.k: [1, 50]\n  data.val.names: [[a], [b, c]]\n"


def shipped(path: str) -> bytes:
    return (PROJECT / path).read_bytes()


def use_needs() -> None:
    RUN.need("tokenizer")
    RUN.needs()


def use_scores() -> None:
    read_rows(RUN.folder / "scores.csv")
    run_results(RUN, spread=True)


def use_skipped() -> None:
    trainer: Any = SimpleNamespace(is_global_zero=True, global_step=3)
    SkipNonFinite(RUN.folder, 3).on_train_start(trainer, trainer)


@cache
def starting() -> PureExperiment:
    return compose_as(PureExperiment, "demo")


FILES: dict[str, tuple[bytes, int, Callable[[], object]]] = {
    f"{V}/provenance.json": (json.dumps(PROVENANCE).encode(), 30, use_needs),
    f"{V}/summary.json": (json.dumps(SUMMARY).encode(), 30, lambda: run_results(RUN)),
    f"{V}/scores.csv": (b"", 20, use_scores),
    f"{V}/metrics.csv": (CURVES, 40, lambda: read_curves(RUN.folder / "metrics.csv", 3)),
    f"{V}/skipped_steps.jsonl": (b'{"step": 1}\n{"step": 2, "ranks": [0]}\n', 10, use_skipped),
    f"{V}/complexity.json": (json.dumps(COMPLEXITY).encode(), 30, lambda: timing_results(RUN)),
    f"{V}/config.yaml": (b"", 3, lambda: load(RUN.folder / "config.yaml")),
    f"{V}/weights/config.json": (
        json.dumps(WEIGHTS).encode(),
        20,
        lambda: read_config(RUN.weights, "tokenizer", VQConfig),
    ),
    f"{V}/weights/model.safetensors": (save({"a": torch.zeros(2)}), 10, lambda: stored_bytes(RUN.weights)),
    f"{V}/images/demo/answers.jsonl": (CAPTIONS, 20, lambda: read_answers(ANSWERS)),
    "start/weights/config.json": (b"", 20, lambda: check_start(Run(Path("start")), starting())),
    "checkpoint/complete.json": (json.dumps(MARK).encode(), 20, lambda: checkpoints.read(Path("checkpoint"))),
    INDEX: (b'{"weight_map": {"a": "b"}}', 20, lambda: files_in_index(Path(INDEX), "x")),
    "scores/scores.csv": (b"", 20, lambda: read_scores(Path("scores/scores.csv"))),
    "scores/a-0.csv": (b"# {}\nimage,crc32,psnr\na,00ff,20.5\n", 20, lambda: score_files.read(JOB, Path())),
    "partial/0.jsonl": (NOTES, 20, lambda: score_files.read_unfinished(Path("partial/0.jsonl"))),
    "votes.json": (json.dumps(VOTES).encode(), 60, lambda: read_ballot(Path("votes.json"))),
    "captions.jsonl": (CAPTIONS, 40, lambda: read_sidecar(Path("captions.jsonl"))),
    "list.txt": (
        b"a.png (64,64,3)\nb/c.png\n",
        30,
        lambda: find_photos(PhotosConfig("photos", meta_info="list.txt"), 32),
    ),
    "out/a.json": (json.dumps(RECORD).encode(), 20, lambda: plan_restorations([PHOTO], Path("out"))),
    "out/journal": (b"", 20, lambda: Journal(Path("out/journal"), {})),
    "pairs/degradations.jsonl": (b"", 20, lambda: finished(Path("pairs"), plan_pairs([PHOTO], 1))),
    "pairs/degradation.yaml": (b"", 20, lambda: list(degrade_files(plan_pairs([PHOTO], 1), Path("pairs"), RECIPE))),
    "shards/index.json": (b"", 20, lambda: read_shards(Path("shards"))),
    "vocabulary.json": (shipped("data/vocabulary/nano.json"), 2, lambda: Vocabulary.from_file(Path("vocabulary.json"))),
    "data/degradation/mine.yaml": (shipped("data/degradation/seesr.yaml"), 4, lambda: degradation("mine")),
    "data/studies/mine.yaml": (shipped("data/studies/sampling.yaml"), 3, lambda: plan_of("mine")),
    "data/protocols/mine.yaml": (shipped("data/protocols/pure.yaml"), 20, lambda: protocol("mine")),
    "published/pure.yaml": (shipped("data/published/pure.yaml"), 2, lambda: published.load("pure", Path("published"))),
    "experiments/mine.yaml": (shipped("experiments/demo.yaml"), 3, lambda: compose("mine")),
    "experiments/grid.yaml": (GRID, 3, lambda: compose("grid/k=1,names=['a']")),
}
"""File -> content, how many times it is damaged in each way, and its reader."""
FORGIVING = ("checkpoint", "partial", "out", f"{V}/images", f"{V}/skipped")
"""The beginnings of files of which damage costs what is damaged, and is no error."""


def write_all() -> None:
    """Write them all to the working directory, and what belongs to them; those without a content are made."""
    for name, (content, _, _) in FILES.items():
        if content:
            write(Path(name), content)
    composed.save(compose("demo"), RUN.folder / "config.yaml")
    for path in (RUN.folder / "scores.csv", Path("scores/scores.csv")):
        write_rows(path, [ScoreRow("demo", "restored", name, {"psnr": 20.0}) for name in "abc"], ["psnr", "ssim"])
    for path in (Path("data/vocabulary/nano.json"), Path("start/weights/vocabulary.json")):
        write(path, shipped("data/vocabulary/nano.json"))
    backbone = {name: getattr(starting().backbone, name) for name in FIXED}
    write_json(Path("start/weights/config.json"), {"kind": "pure", "config": backbone})
    write(Path("index/b"), b"")
    PHOTO.parent.mkdir()
    for path in (PHOTO, Path("out/a.png")):
        Image.new("RGB", (64, 64), "teal").save(path)
    list(degrade_files(plan_pairs([PHOTO], 1), Path("pairs"), RECIPE))
    write_shards(find_photos(PhotosConfig("photos"), 32).found, Path("shards"))
    Journal(Path("out/journal"), {}).add({"a": CodeSquare(torch.zeros(2, 2), 1.0, {}, {}, 3)})
