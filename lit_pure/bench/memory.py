"""Peak memory of a stretch of work.

Knows CUDA's own count, Linux's high-water mark of the process and, exactly, what torch's allocator hands out on a CPU.
"""

import contextlib
import json
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile

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


class LiveBytes:
    """`with LiveBytes() as live:` work on a CPU; afterwards `live.peak` and `live.end` are bytes, the same every time.

    Counted is what torch's CPU allocator gives out and takes back, also what an operation needs for itself, which
    nobody outside sees; what a library of matrix products takes by its own means is not. What stood before counts as
    nothing, neither while it stands nor when it is let go of: what shall count is made inside.
    """

    peak: int
    """The most that stood at one time [byte]."""
    end: int
    """What still stands [byte]."""

    def __enter__(self) -> Self:
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True)
        self._profile.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._profile.__exit__(kind, error, trace)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            self._profile.export_chrome_trace(str(path))
            events = json.loads(path.read_text())["traceEvents"]
        del self._profile
        self.peak = self.end = 0
        allocations = [event for event in events if event["name"] == "[memory]" and event["args"]["Device Type"] == 0]
        for event in sorted(allocations, key=lambda event: event["ts"]):
            self.end += event["args"]["Bytes"]
            self.peak = max(self.peak, self.end)
