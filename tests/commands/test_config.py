"""`lit-pure config`: what it prints loads again as what a run would have, and says of each knob what it means."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lit_pure.__main__ import main
from lit_pure.config.compose import PROJECT, compose, experiment_names, is_sweep, load, save

NAMES = [*experiment_names(), "sweeps/tokenizer/stem=8,codes=512"]


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A working directory with the shipped experiments and one more to be written: printed."""
    shutil.copytree(PROJECT / "experiments", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "experiments" / "printed.yaml"


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["config", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_loads_and_composes_as_what_a_run_would_have(
    name: str, printed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = compose(name)
    printed.write_text(shown(capsys, name))
    assert load(printed) == wanted
    composed = compose("printed")
    composed.name = name
    assert composed == wanted


@pytest.mark.parametrize("name", ["demo", "dem/paper", "tokenizer/official"])
def test_its_keys_and_values_are_those_of_a_run_s_config(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(compose(name), tmp_path / "config.yaml")
    of_run = yaml.safe_load((tmp_path / "config.yaml").read_text())
    read = yaml.safe_load(shown(capsys, name))
    if name == "demo":
        assert read["data"]["test"].pop("bsds500") is None, "its base has this set, and it has not"
    assert read == of_run
    assert list(read) == list(of_run) and list(read["data"]) == list(of_run["data"])


def test_text_that_yaml_reads_otherwise_comes_back_as_it_was(printed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        "1e3",
        "yes",
        "null",
        "~",
        "a: b",
        "#x",
        "it's",
        'say "x"',
        "a, b",
        "[x]",
        "0x1",
        ".inf",
        "größe",
        "-",
        "x\\y",
    ]
    quoted = ", ".join(f"'{name.replace(chr(39), chr(39) * 2)}'" for name in names)
    text = shown(capsys, "demo", f"data.train.names=[{quoted}]", "trainer.devices=8", "data.val.captions='12:30'")
    printed.write_text(text)
    found = load(printed)
    assert found.data.train.names == names
    assert (found.trainer.devices, found.data.val.captions) == ("8", "12:30")


@pytest.mark.parametrize(
    "line",
    [
        "  lr: 0.0002          # Peak learning rate. Above 0 and at most 1; default 0.0004.",
        "  compile: false                  # Whether torch compiles the blocks.",
        "  max_text: 96      # Longest answer text [tokens]; then the image begins. 1 or more; default 256.",
        "  betas: [0.9, 0.95]  # Decay of AdamW's first and second moments. Each 0 to 0.99999.",
        "    # Probability of each shape in `kernel_list`. Each 0 to 1, together 1.",
        "    kernel_prob: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]",
        "needs:                               # Runs that must be finished first.",
        "seed: 0          # Every random draw comes from it, together with epoch and sample index. 0 or more.",
    ],
)
def test_a_knob_has_its_meaning_unit_range_and_default(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert line in shown(capsys, "demo").splitlines()


def test_a_comment_goes_on_below_itself(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "demo").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("  activation_checkpointing: none"))
    column = lines[start].index("#")
    assert lines[start + 1][: column + 2] == " " * column + "# "
    words = " ".join(line[column + 1 :].strip() for line in lines[start : start + 2])
    assert words.startswith("What is computed again in the backward pass: nothing, whole blocks, or all but the large")
    assert words.endswith("One of none, block, selective.")


@pytest.mark.parametrize("name", ["pure/official", "dem/paper", "tokenizer/nano"])
def test_every_knob_is_explained_and_lines_can_be_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, name).splitlines()
    for above, line in zip(["", *lines], lines, strict=False):
        assert len(line) <= 120
        key = re.match(r"(\s*)([\w-]+):", line)
        if key and not re.fullmatch(r"    [\w-]+:", line):  # but for the name of a test set
            assert "# " in line or above.startswith(f"{key[1]}# "), line


def test_settings_are_laid_over_and_a_base_can_be_swapped(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "ablations/sampling/top1", "base=demo", "sampling.k=3")
    read = yaml.safe_load(text)
    assert (read["base"], read["needs"]["weights"], read["sampling"]["k"]) == ("demo", "demo", 3)


@pytest.mark.parametrize("words", [["nosuch"], ["demo", "sampling.guidnce=1"], ["demo", "seed=-1"], ["demo", "x"]])
def test_a_mistake_is_refused_as_by_run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", *words]) == 2
    output = capsys.readouterr()
    assert main(["run", *words]) == 2
    assert output == capsys.readouterr() and output.err and not output.out


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ([], "name an experiment, for example demo; or use --schema"),
        (["demo", "--schema"], "--schema covers all experiments; leave 'demo' out"),
        (["demo", "--out", "nowhere/x.yaml"], "--out nowhere/x.yaml cannot be written: there is no folder nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: list[str], output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", *words]) == 2
    assert output in capsys.readouterr().err


def test_it_answers_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from lit_pure.__main__ import main; assert main(sys.argv[1:]) == 0; "
        "assert not {'torch', 'numpy', 'pandas', 'argcomplete'} & set(sys.modules)"
    )
    for words in (["demo", "--out", "x.yaml"], ["--schema", "--out", "x.json"]):
        done = subprocess.run(
            [sys.executable, "-c", code, "config", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0 and not done.stdout, done
        assert (tmp_path / words[-1]).stat().st_size > 1000


def test_a_sweep_itself_is_shown_without_what_it_varies(capsys: pytest.CaptureFixture[str]) -> None:
    assert is_sweep("sweeps/codes")
    assert yaml.safe_load(shown(capsys, "sweeps/codes"))["vq"]["codes"] == 4096
