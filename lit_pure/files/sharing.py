"""What a system must give to processes that pass data to each other: short paths of sockets, shared memory, open files.

Knows limits, and how to keep below them. Knows nothing of what is passed on. Imports no torch.
"""

import errno
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

LONGEST_SOCKET = 100
"""Length of a socket's path that every system allows (Linux 107) [bytes]."""
BELOW_TEMPORARY = len("/pymp-12345678/listener-12345678")
"""What Python adds to the folder of temporary files [bytes]."""
SHORT_FOLDERS = ("/tmp", "/var/tmp")
SHARED_MEMORY = Path("/dev/shm")
"""Where Linux shows how much of it there is."""
MORE_SHARED = (
    "give a container more with --shm-size=8g or --ipc=host, or take a smaller data.num_workers (0 needs none)"
)
USUAL_FILES = 4096
"""Open files that are enough where an estimate is too low."""
MORE_FILES = "raise the limit (ulimit -n 4096), or take a smaller data.num_workers (0 needs none)"


def keep_sockets_short() -> None:
    """Let Python make its sockets in a short folder where that of temporary files (TMPDIR) is too long for them.

    Raises ValueError if there is no such folder.
    """
    from multiprocessing import util  # slow, and not needed where a command is refused

    long = tempfile.gettempdir()
    if len(os.fsencode(long)) + BELOW_TEMPORARY <= LONGEST_SOCKET:
        return
    before = tempfile.tempdir
    try:
        for tempfile.tempdir in SHORT_FOLDERS:
            with suppress(OSError):
                util.get_temp_dir()  # made once, known to this process and those it starts, removed at its end
                return
    finally:
        tempfile.tempdir = before
    raise ValueError(f"TMPDIR = {long} is too long for sockets; set it to a folder of a short name")


def require_shared_memory(needed: int, what: str) -> None:
    """Raise ValueError unless so much shared memory is free [bytes]; `what` needs it."""
    if not SHARED_MEMORY.is_dir():
        return
    found = os.statvfs(SHARED_MEMORY)
    free = found.f_bavail * found.f_frsize
    if found.f_blocks and free < needed:
        raise ValueError(
            f"{what} needs {needed / 1e6:.1f} MB of shared memory, and {SHARED_MEMORY} has {free / 1e6:.1f} MB left; "
            f"{MORE_SHARED}"
        )


def allow_open_files(needed: int, what: str) -> None:
    """Let this process open so many files at once. Raises ValueError if the system does not; `what` needs them."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ValueError(f"{what} may have {needed} files open at once, and this system allows {hard}; {MORE_FILES}")
    wanted = max(needed, USUAL_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def end_where_nothing_is_passed_on() -> None:
    """For a worker: end this process with a line where its queue fails.

    Python prints a traceback and loses what was passed on, and the main process waits for it for ever.
    """

    from multiprocessing.queues import Queue

    def end(error: Exception, item: object) -> None:
        sys.stderr.write(f"a data worker cannot pass on a batch: {shortage(error) or error}\n")
        sys.stderr.flush()
        os._exit(1)

    Queue._on_queue_feeder_error = staticmethod(end)  # type: ignore[attr-defined]


def shortage(error: BaseException) -> str:
    """What a process ran short of in a line, if that is what an error says; also if it is one of a data worker."""
    text = str(error)
    if "shared memory" in text or "torch_shm_manager" in text:
        return f"shared memory is full; {MORE_SHARED}"
    if "AF_UNIX path too long" in text:
        return f"TMPDIR = {tempfile.gettempdir()} is too long for sockets; set it to a folder of a short name"
    if "Too many open files" in text or (isinstance(error, OSError) and error.errno == errno.EMFILE):
        return f"too many open files; {MORE_FILES}"
    return ""
