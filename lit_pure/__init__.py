"""lit_pure: an experimentation framework for autoregressive real-world image super-resolution.

Importing the package imports nothing else. A public name is imported from its module when it is first used; all else
is named by its room (`from lit_pure.metrics.score import Scorer`). `__init__.pyi` tells type checkers the same names.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "Restorer": "lit_pure.api.restorer",
    "RestoredImage": "lit_pure.api.pictures",
    "build": "lit_pure.api.training",
    "degrade": "lit_pure.api.functions",
    "entropy_top_k": "lit_pure.api.functions",
    "evaluate": "lit_pure.api.functions",
}
"""Public name -> the module that defines it."""

__all__ = ["__version__", *_PUBLIC]  # type checkers read the stub


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; its public names are {', '.join(_PUBLIC)}"
        )
    value: object = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
