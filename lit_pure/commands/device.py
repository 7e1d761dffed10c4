"""The device of a command. Imports torch only when called."""

from typing import Any


def device() -> Any:
    """The accelerator (torch.device) if any, else the CPU."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
