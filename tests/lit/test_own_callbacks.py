"""Callbacks by name: made of words, or refused."""

import sys
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from lit_pure.config.calls import parse_call
from lit_pure.config.compose import ConfigError
from lit_pure.lit.own_callbacks import make_callbacks

MODULE = """
from lightning import Callback
class Look(Callback):
    def __init__(self, often: int) -> None:
        self.often = often
        if often < 1:
            raise RuntimeError("too seldom")
def look() -> None: ...
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the working directory, from which a console script imports nothing by itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    (tmp_path / "watched_by_me.py").write_text(MODULE)
    (tmp_path / "broken_by_me.py").write_text("1 / 0")
    monkeypatch.delitem(sys.modules, "watched_by_me", raising=False)


def test_they_are_made_of_lightning_s_and_of_the_working_directory() -> None:
    words = ["lightning.pytorch.callbacks.EarlyStopping(monitor='val/loss', patience=7)", "watched_by_me.Look(often=2)"]
    early, look = make_callbacks([parse_call(each) for each in words])
    assert isinstance(early, EarlyStopping) and (early.monitor, early.patience) == ("val/loss", 7)
    assert look.often == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("watched_by_me.Lok()", "watched_by_me has no Lok; did you mean Look?"),
        ("watched_by_me.look()", "watched_by_me.look is no subclass of lightning.Callback"),
        ("watched_by_me.Look()", "Look cannot be made: .*missing 1 required positional argument: 'often'"),
        ("watched_by_me.Look(often=0)", "Look cannot be made: too seldom"),
        ("broken_by_me.Look()", "broken_by_me cannot be imported: division by zero"),
        ("lightning.pytorch.callbacks.ModelCheckpoint()", "saves checkpoints, as every run does; set trainer.save_ev"),
    ],
)
def test_what_cannot_be_made_is_refused(words: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer.callbacks: .*{reason}"):
        make_callbacks([parse_call(words)])
