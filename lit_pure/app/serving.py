"""Serves the page.

Knows the web server, how much may be sent to it, and that browsers fetch nothing from elsewhere. Knows neither runs nor
pictures. Imported only where Gradio is installed, and inside `temporary_folder`.
"""

from collections.abc import Awaitable, Callable

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
