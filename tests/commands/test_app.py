"""`app`: what is refused before anything is imported, and where it listens."""

import pytest

from lit_pure.__main__ import main, parser
from lit_pure.commands import app


def test_it_listens_on_this_machine_alone_unless_told_otherwise(capsys):
    assert parser(["app"]).parse_args(["app"]).host == "127.0.0.1"
    app._announce("127.0.0.1", 7860)
    assert capsys.readouterr().out == "http://127.0.0.1:7860 is the page; Ctrl-C closes it\n"
    app._announce("0.0.0.0", 7860)
    assert "everybody who reaches this machine can use it" in capsys.readouterr().out


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(app, "find_spec", lambda name: None if name == "gradio" else object())
    assert main(["app"]) == 2
    assert capsys.readouterr().err == "app needs gradio, not installed here; pip install 'lit_pure[app]'\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--run", "nobody"], "there is no finished run runs/nobody"),
        (["--run", "demo", "--set", "sampling.guidnce=1"], "sampling.guidance"),
        (["--run", "demo", "--set", "backbone.width=64"], "can be changed"),
    ],
)
def test_mistakes_are_refused_at_once(house, monkeypatch, capsys, flags, said):
    monkeypatch.setattr(app, "find_spec", lambda name: object())
    assert main(["app", *flags]) == 2
    assert said in capsys.readouterr().err


def test_runs_to_choose_are_those_that_restore(house):
    chosen = app._restoring(app.runs.require("demo"))
    assert list(chosen) == ["demo/version_0"]  # neither the tokenizer's nor the estimator's
