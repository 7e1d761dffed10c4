"""What records of results say of how they were sampled."""

from dataclasses import replace

import pytest

from lit_pure.config.pure import SamplingConfig


@pytest.mark.parametrize("change", [{"engine": "jacobi"}, {"window": 8}, {"drafts": "left"}])
def test_results_depend_on_the_engine_only_where_rounding_does(change: dict[str, object]) -> None:
    """tests/families/pure/sampling/test_jacobi.py shows that tokens are the same in float32."""
    exact, coarse = SamplingConfig(dtype="float32"), SamplingConfig(dtype="bfloat16")
    assert replace(exact, **change).identity() == exact.identity()
    assert replace(coarse, **change).identity() != coarse.identity()
    assert replace(exact, seed=1).identity() != exact.identity()
