"""Peak memory of a piece of work.

Knows CUDA's own count, Linux's high-water mark of the process, and the exact count of torch's allocator on a CPU.
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
    """`reset()`, work, `mib()`: the peak memory in between [MiB]; None if the system does not count it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> None:
        """Start a new measurement."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # sets the mark to the resident memory

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

    It counts what torch's CPU allocator allocates and frees, also the workspace inside an operation, but not what a
    library of matrix products allocates itself. Tensors that exist before do not count, neither while they exist nor
    when they are freed: make inside what should count.
    """

    peak: int
    """The most bytes allocated at one time [byte]."""
    end: int
    """The bytes still allocated at the end [byte]."""

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
