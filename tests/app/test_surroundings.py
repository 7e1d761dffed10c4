"""The temporary folder goes with all that is in it, and an address is refused with the remedy."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from lit_pure.app.surroundings import listen, temporary_folder


def test_the_folder_goes_and_the_environment_is_as_before():
    before = dict(os.environ), tempfile.gettempdir()
    with pytest.raises(KeyboardInterrupt), temporary_folder() as folder:
        assert Path(tempfile.mkdtemp()).parent == folder
        assert Path(os.environ["GRADIO_TEMP_DIR"]).parent == folder
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (folder / "picture").write_text("left behind")
        raise KeyboardInterrupt
    assert not folder.exists()
    assert (dict(os.environ), tempfile.gettempdir()) == before


def test_an_address_that_is_taken_is_named_with_the_remedy():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match="choose another --port") as error:
            listen("127.0.0.1", port)
    assert error.value.filename == f"127.0.0.1:{port}"
    with pytest.raises(OSError, match="choose another --port, or --host"):
        listen("no.such.host.invalid", 0)


def test_any_free_port_on_this_machine_alone():
    with listen("127.0.0.1", 0) as listening:
        host, port = listening.getsockname()
        assert host == "127.0.0.1" and port > 0
        socket.create_connection((host, port), timeout=10).close()
