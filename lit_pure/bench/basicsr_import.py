"""Makes basicsr importable; the only place that does.

Knows that basicsr 1.4.2 (the newest release) imports one function from `torchvision.transforms.functional_tensor`, a
private module that torchvision removed in 0.17. Knows nothing of what basicsr is used for: callers write
`load_basicsr()` and then their own `from basicsr... import ...`, inside the function that needs it (it takes a second).
"""

import importlib
import importlib.util
import sys
from types import ModuleType

from lit_pure.config.project import command_to_install

REMEDY = f"install it: {command_to_install('basicsr')}"
REMOVED_MODULE = "torchvision.transforms.functional_tensor"


def load_basicsr() -> None:
    """Import basicsr, with a stand-in for the removed torchvision module; a second call does nothing.

    Raises:
        ImportError: basicsr or torchvision is not installed, or fails to import; names the remedy.
    """
    try:
        _restore_removed_module()
        importlib.import_module("basicsr")
    except ImportError as error:
        raise ImportError(f"basicsr cannot be imported ({error}); {REMEDY}") from error


def _restore_removed_module() -> None:
    """Register a stand-in for `REMOVED_MODULE`, unless torchvision still has it or it is registered already."""
    if REMOVED_MODULE in sys.modules or importlib.util.find_spec(REMOVED_MODULE) is not None:
        return
    from torchvision.transforms.functional import rgb_to_grayscale

    stand_in = ModuleType(REMOVED_MODULE, "Stand-in for what torchvision removed; see lit_pure.bench.basicsr_import.")
    stand_in.__dict__["rgb_to_grayscale"] = rgb_to_grayscale
    sys.modules[REMOVED_MODULE] = stand_in
