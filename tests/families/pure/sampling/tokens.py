"""Tokens of small and of shipped models. `python -m tests.families.pure.sampling.tokens` writes them to tokens.json.

The file was written before decoding became faster; whoever changes how fast tokens are drawn changes none of them.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.table import restorer_of
from lit_pure.images.geometry import resize
from lit_pure.images.io import read_bytes
from lit_pure.models.precision import prepare
from lit_pure.runs import folder as runs
from tests.families.pure.sampling.answers import answer, make_backbone

FILE = Path(__file__).with_suffix(".json")
PHOTO = Path("data/photos/chelsea.png")
SHIPPED = ["nano", "nano_photo"]
CODES = "codes of the source"
"""Their name in the file. They are not encoded again: in one cell, another code is as near but for a cosine of 2e-6."""


def of_small(engine: str, guidance: float) -> list[list[int]]:
    """Text and codes of three answers of the model that all tests of sampling share."""
    config = SamplingConfig(engine=engine, guidance=guidance, max_text=9, window=8)  # type: ignore[arg-type]
    found = answer(make_backbone(), "full", config, [0, 1, 2])
    return [[*text, *codes_hw.flatten().tolist()] for text, codes_hw in zip(found.text, found.codes_Bhw, strict=True)]


def source_codes() -> list[list[list[int]]]:
    """Codes of two squares of the cat, in the tokenizer that both shipped models have."""
    restorer = _shipped(SHIPPED[0])
    photo_3HW = read_bytes(PHOTO)[:, 20:84, 20:148].float() / 255
    squares_B3hw = resize(photo_3HW[None], 32, 64).unflatten(-1, (2, 32)).permute(3, 0, 1, 2, 4)[:, 0]
    codes_Bhw: Tensor = restorer.tokenizer.encode(resize(squares_B3hw, restorer.size, restorer.size))
    found: list[list[list[int]]] = codes_Bhw.tolist()
    return found


def of_shipped(name: str, engine: str, codes: list[list[list[int]]], **changes: Any) -> list[list[int]]:
    """Codes that a shipped model draws for two squares with the codes of their source, some settings changed."""
    restorer = _shipped(name)
    restorer.sampling = replace(restorer.sampling, engine=engine, **changes)
    prepare(restorer.backbone, restorer.sampling)
    found: list[list[int]] = restorer.answer(torch.tensor(codes), ["a", "b"]).codes_Bhw.flatten(1).tolist()
    return found


def everything() -> dict[str, Any]:
    """All tokens by name, and the codes that the shipped models start from."""
    engines, codes = ("plain", "jacobi"), source_codes()
    small = {f"small {engine} {scale}": of_small(engine, scale) for engine in engines for scale in (1.0, 0.8)}
    shipped = {f"{name} {engine}": of_shipped(name, engine, codes) for name in SHIPPED for engine in engines}
    return {CODES: codes} | small | shipped


def _shipped(name: str) -> Restorer:
    restorer = restorer_of(runs.require(f"pure/{name}/shipped"))
    assert isinstance(restorer, Restorer)
    return restorer


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), separators=(",", ":")) + "\n")
