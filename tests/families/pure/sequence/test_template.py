"""Wording: the paper's sentences, and reading them back."""

import pytest

from lit_pure.config.dem import LEVELS
from lit_pure.config.pure import GuidanceMode
from lit_pure.families.pure.sequence.template import INSTRUCTIONS, answer_text, degradation_sentence, read_answer


def test_the_paper_s_words() -> None:
    assert INSTRUCTIONS["full"].startswith("Perceive the degradation level, understand the image content, and restore")
    assert INSTRUCTIONS["full"].endswith("the high-quality image. ")
    assert degradation_sentence("medium", "small") == "Medium blur, small noise."
    assert answer_text("full", "medium", "small", "A lion.") == "Medium blur, small noise. A lion. "


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", ""),
        ("perception", "Large blur, small noise. "),
        ("understanding", "A lion. "),
        ("full", "Large blur, small noise. A lion. "),
    ],
)
def test_each_mode_has_its_segments(mode: GuidanceMode, expected: str) -> None:
    assert answer_text(mode, "large", "small", "  A \n lion. ") == expected


@pytest.mark.parametrize("blur", LEVELS)
@pytest.mark.parametrize("noise", LEVELS)
def test_what_is_written_is_read(blur: str, noise: str) -> None:
    caption = "Small blur, small noise. A picture of that sentence."
    for mode in ("perception", "full"):
        words = caption if mode == "full" else ""
        assert read_answer(mode, answer_text(mode, blur, noise, words)) == (blur, noise, words)  # type: ignore[arg-type]


def test_a_model_that_writes_something_else_is_read_calmly() -> None:
    assert read_answer("full", "Enormous blur. A cat.") == (None, None, "Enormous blur. A cat.")
    assert read_answer("understanding", "Small blur, small noise. A cat.") == (
        None,
        None,
        "Small blur, small noise. A cat.",
    )
    with pytest.raises(ValueError, match="unknown level 'huge'; take one of small, medium, large"):
        degradation_sentence("huge", "small")  # type: ignore[arg-type]
