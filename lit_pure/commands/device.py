"""Where a command computes. Imports torch when it is asked, not before."""

from typing import Any


def device() -> Any:
    """The accelerator (torch.device) where there is one, else the CPU."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
