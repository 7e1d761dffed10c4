"""Every file that is read, damaged: its reader takes it, or says in one line what is wrong with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lit_pure.config.compose import PROJECT, compose, degradation, load, save
from lit_pure.config.data import PhotosConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.datasets.captions.sidecar import read_sidecar
from lit_pure.datasets.sources import find_photos
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.gallery.records import read_answers, read_scores
from lit_pure.gallery.votes import read_ballot
from lit_pure.metrics.protocols import protocol
from lit_pure.metrics.rows import ScoreRow, read_rows, write_rows
from lit_pure.models.weights import files_in_index, read_config
from lit_pure.report import published
from lit_pure.report.measured import run_results, timing_results
from lit_pure.runs import checkpoints
from lit_pure.runs.folder import Run
from lit_pure.study.plan import plan_of
from tests.fuzz.cases import damaged, one_line_or_nothing, refusal, write

RUN = Run(Path("runs/demo/version_0"))
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


def shipped(path: str) -> bytes:
    return (PROJECT / path).read_bytes()


VOCABULARY = shipped("data/vocabulary/nano.json")
GRID = b"base: demo\nsweep:\n  sampling.k: [1, 50]\n  data.val.names: [[a], [b, c]]\n"


def use_needs() -> None:
    RUN.need("tokenizer")
    RUN.needs()


def use_scores() -> None:
    read_rows(RUN.folder / "scores.csv")
    run_results(RUN, spread=True)


def use_weights() -> None:
    read_config(RUN.weights, "tokenizer", VQConfig)


def use_list() -> None:
    find_photos(PhotosConfig(source="x", meta_info="list.txt"), 32)


V = "runs/demo/version_0"
FILES: dict[str, tuple[bytes, int, Callable[[], object]]] = {
    f"{V}/provenance.json": (json.dumps(PROVENANCE).encode(), 30, use_needs),
    f"{V}/summary.json": (json.dumps(SUMMARY).encode(), 30, lambda: run_results(RUN)),
    f"{V}/scores.csv": (b"", 20, use_scores),
    f"{V}/complexity.json": (json.dumps(COMPLEXITY).encode(), 30, lambda: timing_results(RUN)),
    f"{V}/config.yaml": (b"", 3, lambda: load(RUN.folder / "config.yaml")),
    f"{V}/weights/config.json": (json.dumps(WEIGHTS).encode(), 20, use_weights),
    f"{V}/images/demo/answers.jsonl": (CAPTIONS, 20, lambda: read_answers(ANSWERS)),
    "checkpoint/complete.json": (json.dumps(MARK).encode(), 20, lambda: checkpoints.read(Path("checkpoint"))),
    INDEX: (b'{"weight_map": {"a": "b"}}', 20, lambda: files_in_index(Path(INDEX), "x")),
    "scores/scores.csv": (b"", 20, lambda: read_scores(Path("scores/scores.csv"))),
    "votes.json": (json.dumps(VOTES).encode(), 60, lambda: read_ballot(Path("votes.json"))),
    "captions.jsonl": (CAPTIONS, 40, lambda: read_sidecar(Path("captions.jsonl"))),
    "list.txt": (b"a.png (16,16,3)\nb/c.png\n", 30, use_list),
    "vocabulary.json": (VOCABULARY, 2, lambda: Vocabulary.from_file(Path("vocabulary.json"))),
    "data/degradation/mine.yaml": (shipped("data/degradation/seesr.yaml"), 4, lambda: degradation("mine")),
    "data/studies/mine.yaml": (shipped("data/studies/sampling.yaml"), 3, lambda: plan_of("mine")),
    "data/protocols/mine.yaml": (shipped("data/protocols/pure.yaml"), 20, lambda: protocol("mine")),
    "published/pure.yaml": (shipped("data/published/pure.yaml"), 2, lambda: published.load("pure", Path("published"))),
    "experiments/mine.yaml": (shipped("experiments/demo.yaml"), 3, lambda: compose("mine")),
    "experiments/grid.yaml": (GRID, 3, lambda: compose("grid/k=1,names=['a']")),
}  # fmt: skip
"""File -> content, how many times it is damaged in each way, and its reader."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with all these files."""
    monkeypatch.chdir(tmp_path)
    for name, (content, _, _) in FILES.items():
        write(Path(name), content)
    save(compose("demo"), RUN.folder / "config.yaml")
    for path in (RUN.folder / "scores.csv", Path("scores/scores.csv")):
        write_rows(path, [ScoreRow("demo", "restored", name, {"psnr": 20.0}) for name in "abc"], ["psnr", "ssim"])
    write(Path("data/vocabulary/nano.json"), shipped("data/vocabulary/nano.json"))
    return tmp_path


def sweep(name: str, times: int) -> int:
    path, read = Path(name), FILES[name][2]
    whole = path.read_bytes()
    taken = [
        one_line_or_nothing(read, f"reading {name} as {content[:200]!r}")
        for content in damaged(whole, len(whole), FILES[name][1] * times)
        if not path.write_bytes(content) or True
    ]
    assert not all(taken) or name.startswith(("checkpoint", "runs/demo/version_0/images")), "some damage is seen"
    return len(taken)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_taken_or_refused_in_one_line(name: str, here: Path) -> None:
    assert sweep(name, 1) > 15


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_so_it_is_many_times_over(name: str, here: Path) -> None:
    assert sweep(name, 20) > 150


RUN_FILES = tuple(
    f"runs/demo/version_0/{name}" for name in ("summary.json", "scores.csv", "config.yaml", "provenance.json")
)
COMMANDS = {
    "report": (*RUN_FILES, "runs/demo/version_0/complexity.json"),
    "report --layout table1": RUN_FILES[:3],
    "gallery demo --out out": (*RUN_FILES[:3], "runs/demo/version_0/images/demo/answers.jsonl"),
    "restore nowhere.png --run demo": RUN_FILES[2:],
    "export demo/version_0": RUN_FILES[2:],
    "config runs/demo/version_0/config.yaml": RUN_FILES[2:3],
    "sweep grid --dry-run": (RUN_FILES[0], "experiments/grid.yaml"),
    "config mine": ("experiments/mine.yaml",),
    "study mine --arms nosuch": ("data/studies/mine.yaml",),
    "degrade nowhere out --preset mine": ("data/degradation/mine.yaml",),
    "evaluate --pred nowhere --protocol mine": ("data/protocols/mine.yaml",),
    "votes votes.json": ("votes.json",),
}
"""Words of a command -> files that it may read before it needs torch."""


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_says_in_one_line_what_is_damaged(words: str, here: Path) -> None:
    for name in COMMANDS[words]:
        whole = Path(name).read_bytes()
        for content in (b"", b"[1", b"[" * 100_000, whole[: len(whole) // 2], b"{}", b"\xff"):
            Path(name).write_bytes(content)
            refusal(words.split(" "))
        Path(name).write_bytes(whole)
