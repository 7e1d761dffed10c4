"""`lit-pure report` from the command line."""

import io
import sys
from pathlib import Path

import pandas as pd
import pytest

from lit_pure.__main__ import main
from lit_pure.report.layouts import LAYOUTS

Say = pytest.CaptureFixture[str]


@pytest.fixture
def three(make) -> None:
    for at, name in enumerate(("top1", "top2000", "dynamic")):
        make(f"ablations/sampling/{name}", {"demo": {"psnr": 15.0 + at, "ssim": 0.4, "niqe": 9.0}})


@pytest.mark.usefixtures("three")
def test_report_prints_table_6_in_markdown(capsys: Say) -> None:
    assert main(["report", "--layout", "table6", "--format", "md"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names[::2] == ["Top-1", "Top-2000", "Dynamic Top-k"]
    assert all(name.startswith("ours: ablations/sampling/") for name in names[1::2])
    assert "**27.59**" in lines[2] and "| demo | 15.00 |" in lines[3] and "**17.00**" in lines[7]


@pytest.mark.usefixtures("three")
def test_report_prints_csv_without_notes_which_go_to_standard_error(capsys: Say) -> None:
    names = [f"ablations/sampling/{name}" for name in ("dynamic", "top1")]
    assert main(["report", *names, "--layout", "table6", "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert pd.read_csv(io.StringIO(said.out))["PSNR"].tolist() == [27.59, 15.0, 24.56, 24.73, 17.0]
    assert "do not compare" in said.err and "no finished run" not in said.err


@pytest.mark.usefixtures("three")
def test_a_terminal_gets_escapes_and_nothing_else_does(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["report", "--layout", "table6"]
    assert main(command) == 0 and "\033" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert main(command) == 0 and "\033[1m27.59\033[0m" in capsys.readouterr().out
    assert main([*command, "--out", "table.txt"]) == 0
    assert "\033" not in Path("table.txt").read_text() and capsys.readouterr().out == "written: table.txt\n"
    monkeypatch.setenv("TERM", "dumb")
    assert main(command) == 0 and "\033" not in capsys.readouterr().out


@pytest.mark.usefixtures("three")
def test_without_a_layout_all_runs_are_shown_and_csv_has_a_row_for_each(capsys: Say) -> None:
    assert main(["report"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Finished runs" and said[2].split() == ["run", "steps"]
    named = [line.split() for line in said if "sampling/dynamic/version_0 " in line and "minus" not in line]
    assert [line[-1] for line in named] == ["3", "9.0000"] and named[1][-3:-1] == ["17.00", "0.4000"]
    assert main(["report", "--format", "csv", "--out", "all.csv"]) == 0
    frame = pd.read_csv("all.csv", index_col="run")
    assert frame.loc["ablations/sampling/dynamic/version_0", "test/demo/psnr"] == 17
    assert "test/demo/bicubic_psnr" not in frame


DAMAGES = [
    "{",
    "[]",
    "\xff",
    '{"family": "pure", "test/x": 1}',
    '{"family": "pure", "test/demo/psnr": null}',
    '{"family": "pure", "test/demo/psnr": "12"}',
]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("damage", DAMAGES)
def test_report_names_a_damaged_run_and_shows_the_others(capsys: Say, damage: str) -> None:
    path = Path("runs/ablations/sampling/top1/version_0/summary.json")
    path.write_bytes(damage.encode("latin-1"))
    assert main(["report"]) == 1
    said = capsys.readouterr()
    assert "top2000/version_0" in said.out and "dynamic/version_0" in said.out and "top1" not in said.out
    assert str(path) in said.err and len(said.err.splitlines()) == 1
    assert main(["report", "ablations/sampling/top1"]) == 1 and capsys.readouterr().out == ""
    assert main(["report", "--layout", "table6"]) == 1
    said = capsys.readouterr()
    assert str(path) in said.err and len(said.err.splitlines()) == 1


@pytest.mark.usefixtures("three")
def test_report_does_not_replace_a_device_by_a_table(capsys: Say, tmp_path: Path) -> None:
    import os

    os.mkfifo("pipe")
    for command in (["report"], ["report", "--layout", "table6"]):
        assert main([*command, "--out", "pipe"]) in (1, 2)
        assert "pipe" in capsys.readouterr().err and not Path("pipe").is_file()


def test_report_lists_all_layouts(capsys: Say) -> None:
    assert main(["report", "--layout", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(LAYOUTS)
    assert "PURE, table 6: strategies of sampling" in lines[5] and any("NSARM, table 1" in line for line in lines)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--layout", "tabel5"], "no such layout; did you mean table5? there are table1, table2"),
        (["--layout", "nsarm"], "did you mean nsarm-time?"),
        (["--intervals"], "--intervals belongs to --layout"),
        (
            ["--layout", "table5", "--out", "nowhere/t.md"],
            "--out nowhere/t.md cannot be written",
        ),
        (["--layout", "table5", "absent"], "there is no finished run runs/absent"),
        (["--layout", "table6", "--test-set", "nothing"], "--test-set nothing: neither the paper nor a run has it"),
    ],
)
def test_a_mistake_in_report_s_flags_is_one_line(capsys: Say, words: list[str], told: str) -> None:
    assert main(["report", *words]) == 2
    said = capsys.readouterr().err
    assert told in said and len(said.splitlines()) == 1


def test_an_unknown_layout_is_refused_before_anything_slow_is_imported() -> None:
    import subprocess

    code = (
        "import sys; from lit_pure.__main__ import main; assert main(['report', '--layout', 'table7']) == 2; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.usefixtures("house")
def test_report_fills_table_6_with_runs_of_a_real_sweep(capsys: Say) -> None:
    """Whole runs of the three ablations, with the demo's weights and intervals from their own scores.csv."""
    names = [f"ablations/sampling/{name}" for name in ("top1", "top2000", "dynamic")]
    for name in names:
        assert main(["run", name, "base=demo"]) == 0
    capsys.readouterr()
    assert main(["report", "--layout", "table6", "--format", "md", "--intervals", "--test-set", "demo"]) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    ours = [line for line in lines if line[0].startswith("ours: ")]
    assert [line[0] for line in lines if line[1] == "DrealSR"] == ["Top-1", "Top-2000", "Dynamic Top-k"]
    assert [line[0] for line in ours] == [f"ours: {name}/version_0" for name in names]
    assert all(line[1] == "demo" and float(line[2].strip("*</u>")) > 5 and line[4] == "-" for line in ours)
