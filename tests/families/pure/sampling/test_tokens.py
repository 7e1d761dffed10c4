"""Tokens are what they were before decoding became faster (`tokens.py` wrote them down)."""

import json

import pytest

from tests.families.pure.sampling.tokens import FILE, SHIPPED, of_shipped, of_small

EXPECTED = json.loads(FILE.read_text())


@pytest.mark.parametrize("guidance", [1.0, 0.8])
@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_a_small_model_writes_and_draws_the_same(engine: str, guidance: float) -> None:
    assert of_small(engine, guidance) == EXPECTED[f"small {engine} {guidance}"]


@pytest.mark.shipped
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_shipped_models_draw_the_same(name: str, engine: str) -> None:
    found, expected = of_shipped(name, engine), EXPECTED[f"{name} {engine}"]
    assert found == expected
