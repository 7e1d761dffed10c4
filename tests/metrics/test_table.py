"""The table and the configuration agree on which metrics there are."""

from typing import get_args

from lit_pure.config.schema import MetricName
from lit_pure.metrics.table import METRICS


def test_configuration_and_table_agree() -> None:
    assert tuple(METRICS) == get_args(MetricName)


def test_directions_and_references() -> None:
    assert {key for key, info in METRICS.items() if info.needs_reference} == {"psnr", "ssim"}
    assert [key for key, info in METRICS.items() if not info.higher_is_better] == ["niqe"]
    assert all(info.key == key and info.range[0] < info.range[1] for key, info in METRICS.items())
