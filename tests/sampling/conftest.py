"""One small model for all tests of sampling."""

import pytest

from lit_pure.backbone.next_token import NextTokenBackbone
from tests.sampling.answers import make_backbone


@pytest.fixture(scope="session")
def backbone() -> NextTokenBackbone:
    return make_backbone()
