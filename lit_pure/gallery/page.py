"""A gallery's page: one HTML file that contains everything and loads nothing.

Knows the files beside this one from which the page is assembled, and how text is escaped: data are in a JSON block that
no tag can close, and a content security policy in the page's head lets only the page's own script run. Knows nothing of
pixels; imports no torch.
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
"""Marks a page as a gallery; a file without it is never replaced."""
SCRIPTS = ("view.js", "page.js", "study.js")
"""The parts of the page's script, in this order."""
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Packed:
    """A picture ready for the page."""

    mime: str
    content: str
    """Base64."""


def require_replaceable(folder: Path) -> None:
    """Raises ConfigError if the page would replace a file that is not a gallery."""
    path = folder / PAGE
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: this is a file; name a folder")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            if MARK not in file.read(4096):
                raise ConfigError(f"--out {folder}: its {PAGE} is not a gallery and would be lost; name another folder")


def page(data: Mapping[str, Any], pictures: list[Packed]) -> str:
    """The page's text.

    Args:
        data: as the page's script reads it; text in it is escaped.
        pictures: in the order of the indices in `data`.
    """
    style, script = _read_part("page.css"), "\n".join(_read_part(name) for name in SCRIPTS)
    blocks = (
        f'<script type="text/plain" id="picture-{index}" data-type="{picture.mime}">{picture.content}</script>\n'
        for index, picture in enumerate(pictures)
    )
    parts = {
        # The whole page is ASCII: Python keeps such text in a quarter of the memory.
        "title": html.escape(str(data["title"])).encode("ascii", "xmlcharrefreplace").decode("ascii"),
        "style": style,
        "style_hash": _csp_hash(style),
        "data": _escape_json(data),
        "pictures": "".join(blocks),
        "script": script,
        "script_hash": _csp_hash(script),
    }
    return _PLACEHOLDER.sub(lambda found: parts[found[1]], _read_part("page.html"))


def _read_part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    """The hash by which a content security policy allows a script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _escape_json(data: Mapping[str, Any]) -> str:
    """JSON in which an HTML parser finds no tag and no comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
