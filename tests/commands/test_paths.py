"""Unusable files and folders of the command line are refused before any work; lists, numbers and tables."""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.__main__ import main
from lit_pure.commands.parsing import comma_list, print_table, say, whole_number
from lit_pure.commands.paths import require_pictures, require_writable_files, require_writable_folder
from lit_pure.config.compose import PROJECT, ConfigError

REFUSALS = [
    ["evaluate", "--pred", "one", "--csv", "one/a.png"],
    ["evaluate", "--pred", "one", "--metrics", "lpips", "--target", "one", "--against", "two"],
    ["bench", "restore", "--photos", "empty"],
    ["bench", "degrade", "--photos", "empty"],
    ["bench", "decode", "--json", "nowhere/x.json"],
    ["bench", "drafts", "empty"],
    ["report", "--out", "/dev/null"],
    ["check-data", "one", "--json", "x", "--write-list", "x"],
    ["score", "one", "--json", "one"],
    ["restore", "one", "--out", "one"],
    ["restore", "one/a.png", "two/a.png"],
    ["baseline", "bicubic", "one", "--out", "one"],
    ["vocabulary", "plain.csv", "--out", "plain.csv"],
    ["config", "demo", "--out", str(PROJECT / "experiments" / "demo.yaml")],
    ["caption", "one", "--source", "pixels", "--out", "one/a.png"],
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("one", "two", "empty"):
        Path(folder).mkdir()
    for file in ("one/a.png", "two/a.png", "plain.csv"):
        Path(file).touch()
    Path("link").symlink_to("/dev/null")
    Path("pipe").symlink_to("fifo")
    Path("hidden.json").symlink_to("one/a.png")
    Path("photo").write_bytes(b"a photograph")
    Path("photo.json").symlink_to("photo")
    os.link("photo", "hard.json")
    os.mkfifo("fifo")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere/x.csv", "there is no folder nowhere; make it first"),
        ("plain.csv/x.csv", "there is no folder plain.csv"),
        ("one", "it is a folder"),
        ("/dev/null", "it is not a regular file"),
        ("link", "it is not a regular file"),
        ("pipe", "it is not a regular file"),
        ("one/a.png", ".png is for pictures"),
        ("one/new.JPG", ".JPG is for pictures"),
        ("new.avif", ".avif is for pictures"),
        ("hidden.json", ".png is for pictures"),
    ],
)
def test_an_output_file_that_cannot_be_written_is_refused(name: str, words: str, here: Path) -> None:
    with pytest.raises(ConfigError) as told:
        require_writable_files({"--json": None, "--csv": Path(name)})
    assert f"--csv {name} cannot be written: {words}" in str(told.value)


def test_two_flags_that_name_one_file_are_refused(here: Path) -> None:
    Path("again").symlink_to("one")
    with pytest.raises(ConfigError, match="--json and --csv both name again/x; name two files"):
        require_writable_files({"--json": Path("one/x"), "--csv": Path("again/x")})


@pytest.mark.parametrize("name", ["photo", "photo.json", "hard.json", "one/../photo"])
def test_an_output_file_that_is_a_source_is_refused(name: str, here: Path) -> None:
    with pytest.raises(ConfigError, match="--json: .* would replace photo"):
        require_writable_files({"--json": Path(name)}, [Path("photo"), Path("one")])


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "mine", "--gpu-memory", "80", "--json", "experiments/mine.yaml"],
        ["plan", "mine", "--gpu-memory", "80", "--json", "experiments/base.yaml"],
        ["plan", "mine", "base=base", "--gpu-memory", "80", "--json", "experiments/base.yaml"],
        ["config", "mine", "--out", "experiments/mine.yaml"],
        ["config", "mine", "--out", "experiments/base.yaml"],
        ["config", "./experiments/mine.yaml", "--out", "experiments/mine.yaml"],
        ["report", "demo", "--out", "runs/demo/version_0/summary.json"],
    ],
    ids=" ".join,
)
def test_what_a_command_reads_outlives_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiments").mkdir()
    Path("experiments/base.yaml").write_text("base: demo\n")
    Path("experiments/mine.yaml").write_text("base: base\n")
    Path("runs/demo/version_0").mkdir(parents=True)
    Path("runs/demo/version_0/summary.json").write_text("{}")
    target = Path(words[-1])
    before = target.read_text()
    assert main(words) == 2
    assert f"would replace {target}" in capsys.readouterr().err
    assert target.read_text() == before


def test_output_paths_that_can_be_written_are_accepted(here: Path) -> None:
    require_writable_files({"--json": Path("new.json"), "--csv": Path("plain.csv"), "--out": here / "one" / "x.csv"})
    for out in ("one", "new", "new/deep"):
        require_writable_folder("--out", Path(out))
    require_pictures("--photos", Path("one"))
    require_pictures("--photos", None)


def test_an_output_folder_without_permission_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "one")  # permissions do not keep root out
    with pytest.raises(ConfigError, match="one is not writable"):
        require_writable_files({"--csv": Path("one/x.csv")})
    with pytest.raises(ConfigError, match="one is not writable"):
        require_writable_folder("--out", Path("one/new"))


@pytest.mark.parametrize("words", REFUSALS, ids=" ".join)
def test_bad_paths_are_refused_before_anything_slow_is_imported(words: list[str], here: Path) -> None:
    """Not even a run is looked for: there is none here. An empty hub folder: LPIPS has no weights."""
    code = (
        "import sys; from lit_pure.__main__ import main; assert main(sys.argv[1:]) == 2; "
        "assert not {'torch', 'numpy', 'pandas', 'tqdm'} & set(sys.modules)"
    )
    environment = {**os.environ, "TORCH_HOME": str(here)}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1 and "no finished run" not in done.stderr, done


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), ("16", 16), ("1", None), ("17", None), ("x", None), ("²", None)]
)
def test_whole_numbers_lie_between_their_ends(text: str, number: int | None) -> None:
    parse = whole_number(2, 16)
    if number is not None:
        assert parse(text) == number
        return
    with pytest.raises(argparse.ArgumentTypeError, match="from 2 to 16"):
        parse(text)


def test_comma_lists_drop_repetitions_and_must_not_be_empty() -> None:
    assert comma_list("a, b,,a") == ["a", "b"]
    with pytest.raises(argparse.ArgumentTypeError, match="',' names nothing"):
        comma_list(",")


def test_printed_tables_align_words_left_and_figures_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([["name", "n", ""], ["a", "100", "x"], ["longer", "2", ""]], figures=[1])
    assert capsys.readouterr().out.splitlines() == ["name      n", "a       100  x", "longer    2"]


def test_names_neither_end_a_line_of_a_table_nor_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([["photo", "n"], ["a\nb", "1"], ["\x1b[31mred\r", "2"], ["\u2028", "3"], ["größe 写", "4"]])
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "photo          n",
        r"a\nb           1",
        r"\x1b[31mred\r  2",
        r"\u2028         3",
        "größe 写        4",
    ]


def test_characters_that_a_terminal_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    say("PSNR ↑ \udcff")
    terminal.flush()
    assert terminal.buffer.getvalue() == rb"PSNR \u2191 \udcff" + b"\n"
