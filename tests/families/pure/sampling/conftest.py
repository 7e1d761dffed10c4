"""One small model for all tests of sampling."""

import pytest

from lit_pure.models.next_token import NextTokenBackbone
from tests.families.pure.sampling.answers import make_backbone


@pytest.fixture(scope="session")
def backbone() -> NextTokenBackbone:
    return make_backbone()
