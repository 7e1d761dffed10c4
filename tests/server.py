"""A web server of this machine, for what a test downloads."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest


class Silent(BaseHTTPRequestHandler):
    """Answers without telling the terminal."""

    def log_message(self, *words: object) -> None: ...


@contextmanager
def serving(handler: type[Silent], patch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address that `handler` answers at, whatever proxy this machine has."""
    patch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        Thread(target=made.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{made.server_port}"
        finally:
            made.shutdown()
