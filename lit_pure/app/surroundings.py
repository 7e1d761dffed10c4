"""What a page is given before it is made: a temporary folder that is gone afterwards, and an address.

Knows what Gradio reads from the environment. Knows neither Gradio itself nor the page, and imports nothing slow.
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """The one folder that is written to; it is removed at the end, with all that is in it.

    Gradio and matplotlib are imported inside: they make folders as they are imported, and Gradio would tell its makers
    that it is used.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="lit_pure_app_") as name:
        os.environ |= {
            "TMPDIR": name,
            "GRADIO_TEMP_DIR": str(Path(name, "uploads")),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "MPLCONFIGDIR": str(Path(name, "matplotlib")),
        }
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = None
            os.environ.clear()
            os.environ.update(before)


def listen(host: str, port: int) -> socket.socket:
    """A socket on this address; port 0: any free one. Raises OSError, with the remedy, where it cannot be had."""
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = f"cannot be listened on: {error.strerror or error}; choose another --port, or --host"
        raise OSError(error.errno, reason, f"{host}:{port}") from error
