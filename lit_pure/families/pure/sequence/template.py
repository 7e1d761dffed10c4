"""The wording of prompts and answers.

Knows the sentences of each guidance mode and reads them back. Knows nothing of ids (`assemble.py`). The full
instruction and the layout of the answer are the paper's (section 3.3, figure 2). The instructions of the other modes
are not public; ours are the full one without the missing part.
"""

import re

from lit_pure.config.dem import LEVELS, Level
from lit_pure.config.pure import GuidanceMode

PERCEIVES: frozenset[GuidanceMode] = frozenset({"perception", "full"})
"""Modes whose answer begins with the degradation sentence."""
UNDERSTANDS: frozenset[GuidanceMode] = frozenset({"understanding", "full"})
"""Modes whose answer has a caption."""
INSTRUCTIONS: dict[GuidanceMode, str] = {
    "none": "Restore the high-quality image. ",
    "perception": "Perceive the degradation level, and restore the high-quality image. ",
    "understanding": "Understand the image content, and restore the high-quality image. ",
    "full": "Perceive the degradation level, understand the image content, and restore the high-quality image. ",
}
"""The text of the prompt before the LQ image, with the last space."""

_SENTENCE = re.compile(r"(?P<blur>Small|Medium|Large) blur, (?P<noise>small|medium|large) noise\.\s?")


def degradation_sentence(blur: Level, noise: Level) -> str:
    """Two levels in words, for example "Medium blur, small noise.". Raises ValueError for unknown levels."""
    for value in (blur, noise):
        if value not in LEVELS:
            raise ValueError(f"unknown level {value!r}; take one of {', '.join(LEVELS)}")
    return f"{blur.capitalize()} blur, {noise} noise."


def clean(caption: str) -> str:
    """A caption with single spaces and none at the ends, which is the form that `parse` returns."""
    return " ".join(caption.split())


def answer_text(mode: GuidanceMode, blur: Level, noise: Level, caption: str) -> str:
    """The text of the answer before the HQ image, with the last space; empty in mode `none`."""
    parts = [degradation_sentence(blur, noise)] if mode in PERCEIVES else []
    if mode in UNDERSTANDS:
        parts.append(clean(caption))
    return "".join(f"{part} " for part in parts if part)


def read_answer(mode: GuidanceMode, text: str) -> tuple[Level | None, Level | None, str]:
    """The levels (None without a readable sentence) and the caption (may be empty) of an answer."""
    blur: Level | None = None
    noise: Level | None = None
    if mode in PERCEIVES and (found := _SENTENCE.match(text)):
        blur, noise = _level(found["blur"]), _level(found["noise"])
        text = text[found.end() :]
    return blur, noise, clean(text)


def _level(word: str) -> Level:
    return next(level for level in LEVELS if level == word.lower())
