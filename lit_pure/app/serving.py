"""Serves the page on an address, from a temporary folder that is gone afterwards.

Knows the web server, which files may be seen, and that browsers fetch nothing from elsewhere. Knows neither runs nor
pictures. Imported only where Gradio is installed.
"""

import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported, which else tells its makers

import fastapi
import gradio as gr
import uvicorn

from lit_pure.app.page import CSS, build, theme
from lit_pure.app.service import Service

QUEUE = 20
"""Uploads that wait for their turn; more are refused."""
BYTES_A_PIXEL = 8
"""Of an upload: as large as 16 bits with alpha, not compressed."""
LEAST_BYTES = 100_000_000
"""Files of this size are received in any case, so that a refusal can say what is wrong with them."""
GRACE = 2
"""How long open pages keep the server from ending [s]."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'none'; frame-ancestors 'none'"
)
"""The browser loads nothing from other hosts, and no other page shows this one."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """The one folder that is written to, by Gradio, too; it is removed at the end, with all that is in it."""
    before = {name: os.environ.get(name) for name in ("GRADIO_TEMP_DIR", "TMPDIR")}
    with tempfile.TemporaryDirectory(prefix="lit_pure_app_") as name:
        os.environ |= {"GRADIO_TEMP_DIR": str(Path(name, "uploads")), "TMPDIR": name}
        tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = None
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})


def listen(host: str, port: int) -> socket.socket:
    """A socket on this address; port 0: any free one. Raises OSError, with the remedy, where it cannot be had."""
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = f"cannot be listened on: {error.strerror or error}; choose another --port, or --host"
        raise OSError(error.errno, reason, f"{host}:{port}") from error


def server(service: Service) -> uvicorn.Server:
    """The server of the page of a service; `run(sockets=[...])` serves it until a signal, or `should_exit`."""
    page = build(service).queue(max_size=QUEUE, default_concurrency_limit=1, api_open=False)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_restrict)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size=max(LEAST_BYTES, BYTES_A_PIXEL * service.max_pixels),
        theme=theme(),
        css=CSS.read_text(encoding="utf-8"),
    )
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE, lifespan="on")
    )


async def _restrict(
    request: fastapi.Request, answer: Callable[[fastapi.Request], Awaitable[fastapi.Response]]
) -> fastapi.Response:
    response = await answer(request)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
