"""A gallery's page: one HTML file in which everything is, so that it asks for nothing.

Knows the files beside this one that it is put together from, and how text is made harmless: data stand in a JSON block
in which no tag can end, and a policy in the page's head lets only the page's own script run. Knows nothing of pixels,
and imports no torch.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lit_pure.config.compose import ConfigError

PAGE = "index.html"
MARK = '<meta name="generator" content="lit_pure gallery">'
"""By which a page of ours is known; any other file is left alone."""
SCRIPTS = ("view.js", "page.js", "study.js")
"""The parts of the page's script, in this order."""
_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Packed:
    """A picture ready for the page."""

    mime: str
    content: str
    """Base64."""


def require_ours(folder: Path) -> None:
    """Raises ConfigError where the page would replace a file that is no gallery."""
    path = folder / PAGE
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: a file is there; name a folder")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            if MARK not in file.read(4096):
                raise ConfigError(f"--out {folder}: its {PAGE} is no gallery and would be lost; name another folder")


def page(data: Mapping[str, Any], pictures: list[Packed]) -> str:
    """The page's text.

    Args:
        data: as the page's script reads it; any text in it is harmless.
        pictures: in the order that `data` counts them.
    """
    style, script = _file("page.css"), "\n".join(_file(name) for name in SCRIPTS)
    blocks = (
        f'<script type="text/plain" id="picture-{index}" data-type="{picture.mime}">{picture.content}</script>\n'
        for index, picture in enumerate(pictures)
    )
    parts = {
        # All of the page is ASCII: Python keeps such a text in a quarter of the memory.
        "title": html.escape(str(data["title"])).encode("ascii", "xmlcharrefreplace").decode("ascii"),
        "style": style,
        "style_hash": _hash(style),
        "data": _harmless(data),
        "pictures": "".join(blocks),
        "script": script,
        "script_hash": _hash(script),
    }
    return _PLACE.sub(lambda place: parts[place[1]], _file("page.html"))


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names a script or style that may be in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _harmless(data: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for a tag or a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
