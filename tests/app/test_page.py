"""What the page does to its components, without a browser."""

from pathlib import Path

import pytest

from lit_pure.app.service import Result, Service
from lit_pure.runs import folder as runs

page = pytest.importorskip("lit_pure.app.page", reason="gradio is not installed", exc_type=ImportError)


@pytest.mark.shipped
def test_another_run_turns_the_page_to_its_own_knobs(tmp_path):
    """Gradio makes each component anew with what is changed, and ends with a TypeError where that does not fit."""
    names = ("pure/nano_photo", "nsarm/nano")
    service = Service({name: runs.require(name) for name in names}, tmp_path / "results", max_pixels=10_000)
    components = [page._component(knob, service.open(names[0])) for knob in page.KNOBS]
    updates = page._turn_to(service.open(names[1]))[:-1]
    visible = []
    for knob, component, update in zip(page.KNOBS, components, updates, strict=True):
        type(component)(**{key: value for key, value in update.items() if key != "__type__"})
        visible += [knob.key] if update["visible"] else []
    assert visible == ["sampling.guidance", "sampling.seed"]


def test_words_are_shown_and_not_obeyed():
    """A model writes what it likes, and a file is called what its owner likes."""
    said = "<script>alert(1)</script>"
    status, _, _, words, *_ = page._shown(Result(Path("a.png"), Path("b.png"), {}, {}, {"caption": said}, said))
    refusal = page._refused(said)[0]
    assert all("<script>" not in text for text in (status, words.value, refusal))
    assert "&lt;script&gt;" in words.value
