"""The parts of `bench gpu`: what is run on a GPU, in which order, and how long each may take.

Knows commands and limits: correctness first, then what people ask most about. Knows nothing of how parts are run
(`gpu.py`) or of what they print. Imports no torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

LIT_PURE = (sys.executable, "-m", "lit_pure")
TESTS = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda")


@dataclass(frozen=True)
class Part:
    """One command. What it writes as JSON is kept; a part without `writes` is right or wrong by its exit status."""

    name: str
    command: Sequence[str]
    limit: float
    """How long it may take [s]."""
    writes: bool = True

    def with_output(self, path: str) -> list[str]:
        """The command, which writes its figures to a file."""
        return [*self.command, *(["--json", path] if self.writes else [])]


def _bench(name: str, limit: float, *flags: str) -> Part:
    return Part(name, (*LIT_PURE, "bench", *flags), limit)


def _decode(name: str, limit: float, *flags: str) -> Part:
    return _bench(f"decode 7b, {name}", limit, "decode", "--preset", "7b", *flags)


def gpu_parts() -> list[Part]:
    """At most 9 minutes in all, on one H100 or H200."""
    return [
        Part("tests marked cuda", (*TESTS, "tests"), 60, writes=False),
        _decode("plain", 75, "--engines", "plain"),
        _decode("jacobi, window 16", 45, "--engines", "jacobi"),
        _decode("jacobi, window 32", 45, "--engines", "jacobi", "--window", "32"),
        _decode("plain, int8", 75, "--engines", "plain", "--quantize", "int8"),
        _decode("plain, batch 8", 75, "--engines", "plain", "--batch", "8"),
        _bench("decode nsarm 2b", 40, "decode", "--family", "nsarm", "--preset", "2b", "--rounds", "2"),
        _bench("train 1b", 40, "train", "--preset", "1b", "--rounds", "2", "--steps", "5"),
        _bench("train 7b-layer", 40, "train", "--preset", "7b-layer", "--rounds", "2", "--steps", "5"),
        _bench("degrade", 20, "degrade", "--ours", "--sizes", "512x8,128x64", "--rounds", "2"),
        _bench("restore, nano", 25, "restore", "--run", "pure/nano_photo", "--repeat", "2"),
    ]


def tiny_parts() -> list[Part]:
    """The same kinds in seconds on a CPU, to rehearse them: on photographs that need no download."""
    photographs = [f"data.{name}.{key}" for name in ("train", "val") for key in ("source=skimage", "meta_info=")]
    small = ("backbone.layers=1", "data.size=96", *photographs, "data.test.bsds500=null")
    train = ("--rounds", "1", "--steps", "1", "--batch", "1", "--set", *small)
    return [
        Part("tests marked cuda", (*TESTS, "tests/models/test_attention.py"), 60, writes=False),
        _bench("decode tiny", 60, "decode", "--preset", "tiny", "--engines", "plain", "--threads", "1"),
        _bench("decode nsarm nano", 60, "decode", "--family", "nsarm", "--rounds", "1", "--threads", "1"),
        _bench("train nano", 60, "train", "--preset", "nano", "--threads", "1", *train),
        _bench("degrade", 60, "degrade", "--ours", "--sizes", "96x2", "--rounds", "1", "--batches", "1"),
    ]
