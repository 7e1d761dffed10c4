"""Peak memory of a stretch of work. Knows CUDA's own count and, for a CPU, Linux's high-water mark of the process."""

import contextlib
from pathlib import Path

import torch

MIB = 2**20


class Peak:
    """`reset()`, work, `mib()`: the most memory that was held in between [MiB]; None where nobody counts it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> None:
        """Forget what came before."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the mark falls to what is resident now

    def mib(self) -> float | None:
        """The peak since `reset` [MiB]: of the device's tensors, or of the whole process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / MIB
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return None
        line = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
        return int(line.split()[1]) / 1024 if line else None
