"""`app`: a page on this machine where a photograph is dropped and seen restored. Knows flags and what is printed."""

import argparse
import ipaddress
from importlib.util import find_spec

from lit_pure.commands.device import device
from lit_pure.commands.parsing import Subparsers, add, add_settings, say, whole_number
from lit_pure.commands.restore import RUN
from lit_pure.config.compose import ConfigError
from lit_pure.families.settings import settings_of
from lit_pure.families.table import family_by_summary
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.runs.stop import INTERRUPTED, Stopped

HOST, PORT, MAX_PIXELS = "127.0.0.1", 7860, 250_000
PACKAGES = ("gradio", "fastapi", "uvicorn")
REMEDY = "pip install 'lit_pure[app]'"


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "app", app_command)
    command.add_argument(
        "--run", default=RUN, help=f"whose weights to begin with (default: {RUN}); others are chosen on the page"
    )
    add_settings(command, "settings of sampling and restoring of this run, for example sampling.k_max=500")
    command.add_argument(
        "--max-pixels",
        type=whole_number(1),
        default=MAX_PIXELS,
        metavar="N",
        help=f"pixels of the largest photograph that is taken (default: {MAX_PIXELS})",
    )
    command.add_argument("--host", default=HOST, help=f"address to listen on (default: {HOST}, this machine alone)")
    command.add_argument(
        "--port", type=whole_number(0, 65535), default=PORT, metavar="N", help=f"0: any free one (default: {PORT})"
    )


def app_command(arguments: argparse.Namespace) -> int:
    """Open a page in the browser to try it: drop a photograph, see it restored, turn the knobs.

    It is answered on this machine alone unless --host says otherwise, one photograph at a time. Nothing is written
    outside a temporary folder, which is removed at the end, and nothing is fetched from any network.
    """
    if absent := [name for name in PACKAGES if find_spec(name) is None]:
        raise ConfigError(f"app needs {' and '.join(absent)}, not installed here; {REMEDY}")
    run = runs.require(arguments.run)
    settings_of(run, arguments.set)  # a mistake is refused before torch is imported
    from lit_pure.app.surroundings import listen, temporary_folder

    with listen(arguments.host, arguments.port) as listening, temporary_folder() as folder:
        from lit_pure.app.service import Service
        from lit_pure.app.serving import server

        options = {"max_pixels": arguments.max_pixels, "given": arguments.set, "device": device()}
        service = Service(_restoring(run), folder / "results", **options)
        _announce(*listening.getsockname()[:2])
        try:
            server(service).run(sockets=[listening])
        except KeyboardInterrupt:
            raise Stopped("the page is closed, and nothing of it is left", INTERRUPTED) from None
        finally:
            service.close()
    return 0


def _restoring(first: Run) -> dict[str, Run]:
    """All finished runs that restore, by name, the given one first."""
    shipped = [Run(path.parent) for path in sorted(runs.SHIPPED_ROOT.rglob("summary.json"))]
    found = [first, *(run for run in [*runs.finished(), *shipped] if family_by_summary(run).restores)]
    return {run.label: run for run in found}


def _announce(host: str, port: int) -> None:
    """Say where the page is, and who can see it."""
    say(f"http://{f'[{host}]' if ':' in host else host}:{port} is the page; Ctrl-C closes it")
    if not ipaddress.ip_address(host).is_loopback:
        say("warning: everybody who reaches this machine can use it; nobody is asked for a password")
