"""Lets basicsr 1.4.2 build on Python 3.13: on PYTHONPATH while `make setup` installs it, and at no other time.

Its setup.py runs `exec(code)` in a function and then reads `locals()["__version__"]`. Since Python 3.13 (PEP 667) such
an `exec` writes to a copy of the locals, so that the name is missing. A frame's `f_locals` still writes through.
"""

import builtins
import sys
from typing import Any

builtin_exec = builtins.exec


def exec_in_frame(source: Any, *scopes: Any, **named: Any) -> None:
    """`exec` that lets new names reach the locals of its caller, as it did up to Python 3.12."""
    caller = sys._getframe(1)
    builtin_exec(source, *(scopes or (caller.f_globals, caller.f_locals)), **named)


builtins.exec = exec_in_frame
