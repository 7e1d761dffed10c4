"""basicsr imports although torchvision lacks the module it wants, and its absence is told with the remedy."""

import sys

import pytest

from lit_pure.bench import basicsr_import
from lit_pure.bench.basicsr_import import REMOVED_MODULE, load_basicsr


def test_basicsr_imports_and_twice_changes_nothing() -> None:
    load_basicsr()
    first = sys.modules[REMOVED_MODULE]
    load_basicsr()
    assert sys.modules[REMOVED_MODULE] is first
    from basicsr.data.degradations import bivariate_Gaussian

    assert bivariate_Gaussian(7, 1.0, 1.0, 0.0, isotropic=True).sum() == pytest.approx(1)


def test_absent_basicsr_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "basicsr", None)
    with pytest.raises(ImportError, match="make setup"):
        load_basicsr()


def test_importing_basicsr_import_imports_nothing_slow() -> None:
    assert not {"torch", "torchvision", "basicsr"} & set(vars(basicsr_import))
