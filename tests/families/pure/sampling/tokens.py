"""Tokens of small and of shipped models. `python -m tests.families.pure.sampling.tokens` writes them to tokens.json.

The file was written before decoding became faster; whoever changes how fast tokens are drawn changes none of them.
"""

import json
from dataclasses import replace
from pathlib import Path

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.table import restorer_of
from lit_pure.images.geometry import resize
from lit_pure.images.io import read_bytes
from lit_pure.runs import folder as runs
from tests.families.pure.sampling.answers import answer, make_backbone

FILE = Path(__file__).with_suffix(".json")
PHOTO = Path("data/photos/chelsea.png")
SHIPPED = ["nano", "nano_photo"]


def of_small(engine: str, guidance: float) -> list[list[int]]:
    """Text and codes of three answers of the model that all tests of sampling share."""
    config = SamplingConfig(engine=engine, guidance=guidance, max_text=9, window=8)  # type: ignore[arg-type]
    found = answer(make_backbone(), "full", config, [0, 1, 2])
    return [[*text, *codes_hw.flatten().tolist()] for text, codes_hw in zip(found.text, found.codes_Bhw, strict=True)]


def of_shipped(name: str, engine: str) -> list[list[int]]:
    """Codes of two squares of the cat."""
    restorer = restorer_of(runs.require(f"pure/{name}/shipped"))
    assert isinstance(restorer, Restorer)
    restorer.sampling = replace(restorer.sampling, engine=engine)
    photo_3HW = read_bytes(PHOTO)[:, 20:84, 20:148].float() / 255
    squares_B3hw = resize(photo_3HW[None], 32, 64).unflatten(-1, (2, 32)).permute(3, 0, 1, 2, 4)[:, 0]
    enlarged_B3ss = resize(squares_B3hw, restorer.size, restorer.size)
    return restorer.answer(restorer.tokenizer.encode(enlarged_B3ss), ["a", "b"]).codes_Bhw.flatten(1).tolist()


def everything() -> dict[str, list[list[int]]]:
    """All tokens by name."""
    engines = ("plain", "jacobi")
    small = {f"small {engine} {scale}": of_small(engine, scale) for engine in engines for scale in (1.0, 0.8)}
    return small | {f"{name} {engine}": of_shipped(name, engine) for name in SHIPPED for engine in engines}


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), separators=(",", ":")) + "\n")
