"""Tokens are what they were before decoding became faster (`tokens.py` wrote them down).

They are of float32, which another processor may round differently. What was measured says how far that is from another
token: of all 1,216 draws of the plain engine, the nearest has its largest noisy logit 0.00044 above the second one, and
of all 246 words of text 0.0042; no draw is nearer than 0.0015 to losing its winner at the edge of the k largest. Logits
of the fused backbone differ from the ordinary one's by 0.00003 at most.
"""

import json
from typing import Any

import pytest

from tests.families.pure.sampling.tokens import CODES, FILE, SHIPPED, of_shipped, of_small

EXPECTED = json.loads(FILE.read_text())


@pytest.mark.parametrize("guidance", [1.0, 0.8])
@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_a_small_model_writes_and_draws_the_same(engine: str, guidance: float) -> None:
    assert of_small(engine, guidance) == EXPECTED[f"small {engine} {guidance}"]


@pytest.mark.shipped
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("engine", ["plain", "jacobi"])
def test_shipped_models_draw_the_same(name: str, engine: str) -> None:
    found, expected = of_shipped(name, engine, EXPECTED[CODES]), EXPECTED[f"{name} {engine}"]
    assert found == expected


@pytest.mark.shipped
def test_with_products_of_one_shape_both_engines_draw_the_same_in_bfloat16() -> None:
    """Without it they do not, on these squares: nano's logits are too close for that."""
    coarse: dict[str, Any] = {"dtype": "bfloat16"}
    alike = [of_shipped("nano", engine, EXPECTED[CODES], **coarse, one_shape=True) for engine in ("plain", "jacobi")]
    assert alike[0] == alike[1]
    differ = [of_shipped("nano", engine, EXPECTED[CODES], **coarse) for engine in ("plain", "jacobi")]
    assert differ[0] != differ[1]
