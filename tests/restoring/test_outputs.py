"""Which pictures may be written: never in place of a photograph, nor of the picture of another one."""

import json
from pathlib import Path

import pytest

from lit_pure.files.outputs import OutputClash, identify
from lit_pure.restoring.outputs import made_from, plan_reconstructions, plan_restorations


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.png", "b/x.png", "a/x_entropy.png", "original/x.png", "out/free.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    return tmp_path


def made_of(source: str, *, record: bool = True) -> None:
    """A picture of an earlier call."""
    Path("out/x.png").touch()
    if record:
        Path("out/x.json").write_text(json.dumps({"made": {"from": made_from(Path(source), Path("out"))}}))


def plan(*sources: str, out: str = "out", again: bool = False) -> list[str]:
    return plan_restorations(list(map(Path, sources)), Path(out), again=again)


@pytest.mark.parametrize(
    ("sources", "out", "words"),
    [
        (["a/x.png"], "a", "a/x.png would replace a/x.png"),
        (["a/x.png", "b/x.png"], "out", "several photographs are named x.png"),
        (["a/x.png", "a/x_entropy.png"], "out", "would both be written to out/x_entropy.png"),
    ],
)
def test_what_would_be_lost_is_refused(sources: list[str], out: str, words: str, here: Path) -> None:
    with pytest.raises(OutputClash, match=words):
        plan(*sources, out=out)


def test_a_folder_of_photographs_is_not_written_to(here: Path) -> None:
    Path("a/x.png").rename("a/x.jpg")
    assert plan("a/x.jpg", out="a") == ["x"], "one file beside its photograph is no loss"
    with pytest.raises(OutputClash, match="both read and written to"):
        plan_restorations([Path("a/x.jpg")], Path("a"), [Path("a")])


def test_the_picture_of_another_photograph_is_kept(here: Path) -> None:
    made_of("b/x.png")
    with pytest.raises(OutputClash, match="out/x.png was made of b/x.png, not of a/x.png; name another folder"):
        plan("a/x.png")
    assert plan("a/x.png", again=True) == plan("b/x.png") == ["x"]
    Path("b/x.png").unlink()
    assert plan("a/x.png") == ["x"], "the other photograph was renamed, or is gone"


def test_a_copy_of_a_photograph_is_no_other_one(here: Path) -> None:
    Path("a/x.png").write_bytes(b"same")
    Path("b/x.png").write_bytes(b"same")
    made_of("b/x.png")
    record = json.loads(Path("out/x.json").read_text())
    record["made"]["source"] = identify(Path("b/x.png"))
    Path("out/x.json").write_text(json.dumps(record))
    assert plan("a/x.png") == ["x"]
    Path("a/x.png").write_bytes(b"other")
    with pytest.raises(OutputClash, match="was made of b/x.png"):
        plan("a/x.png")


def test_a_picture_without_record_is_kept_and_one_with_an_old_or_damaged_record_is_ours(here: Path) -> None:
    made_of("a/x.png", record=False)
    with pytest.raises(OutputClash, match="without a record of lit-pure"):
        plan("a/x.png")
    for record in ('{"made": {"source": {}}}', "{", '{"made": 3}', "[]"):
        Path("out/x.json").write_text(record)
        assert plan("a/x.png") == ["x"]


def test_reconstructions_replace_no_originals_of_others(here: Path) -> None:
    with pytest.raises(OutputClash, match="original/x.png exists, and is not of lit-pure reconstruct"):
        plan_reconstructions([Path("a/x.png")], Path())
    with pytest.raises(OutputClash, match="original/x.png would replace"):
        plan_reconstructions([Path("original/x.png")], Path())
    Path("reconstructed").mkdir()
    Path("reconstructed/x.png").touch()
    assert plan_reconstructions([Path("a/x.png")], Path()) == plan_reconstructions([Path("a/x.png")], None) == ["x"]
