"""`lit-pure weights metrics`: the table, files fetched from a folder, and mistakes that are refused at once."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lit_pure.__main__ import main
from lit_pure.metrics.table import METRICS

HEAD = ["metric", "file", "from", "state", "sha256", "where"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch looks, empty; no network, and small files in place of the published ones of DISTS and LPIPS (VGG)."""

    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    for key in ("dists", "lpips-vgg"):
        files = tuple(replace(file, sha256=digest(file.name)[:8]) for file in METRICS[key].files)
        monkeypatch.setitem(METRICS, key, replace(METRICS[key], files=files))
    return tmp_path / "torch" / "hub"


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def downloads(hub: Path, tmp_path: Path) -> Path:
    """A folder with those small files."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for key in ("dists", "lpips-vgg"):
        for file in METRICS[key].files:
            (folder / file.name).write_text(file.name)
    return folder


def table(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The printed rows, by cells."""
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("fetched")]
    return [[cell for cell in line.split("  ") if cell] for line in lines]


def test_weights_metrics_list_names_absent_files_and_touches_nothing(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "metrics", "--list"]) == 0
    head, *rows = table(capsys)
    assert [cell.strip() for cell in head] == HEAD
    cells = {row[1].strip(): [cell.strip() for cell in row] for row in rows}
    vgg = ["dists, lpips-vgg", "vgg16-397923af.pth", "download.pytorch.org", "absent", "-", f"{hub}/checkpoints"]
    assert cells["vgg16-397923af.pth"] == vgg
    assert cells["niqe_pris_params.npz"][:5] == [
        "niqe",
        *vgg[1:1],
        "niqe_pris_params.npz",
        "package basicsr",
        "present",
        "2a7c182a68c9",
    ]
    assert {name for key in METRICS for name in (Path(file.name).name for file in METRICS[key].files)} == set(cells)
    assert not hub.exists()


def test_weights_metrics_fetches_absent_and_damaged_files(
    hub: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["weights", "metrics", "--metrics", "dists,lpips-vgg", "--from", str(downloads)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 of 3 files are missing or damaged; some have several 100 MB\n")
    assert said.count("fetched") == 3 and said.count("present") == 3
    for place, name in (("checkpoints", "vgg16-397923af.pth"), ("pyiqa", "DISTS_weights-f5e65c96.pth")):
        assert (hub / place / name).read_text() == name
        assert digest(name)[:12] in said
    (hub / "pyiqa" / "DISTS_weights-f5e65c96.pth").write_text("cut")
    assert main([*command, "--list"]) == 0
    wrong = hashlib.sha256(b"cut").hexdigest()[:12]
    assert f"damaged  {wrong} instead of {digest('DISTS_weights-f5e65c96.pth')[:8]}" in capsys.readouterr().out
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count("fetched") == 1 and said.count("present") == 3


def test_a_metric_file_that_cannot_be_fetched_does_not_stop_the_others(
    hub: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (downloads / "vgg16-397923af.pth").write_text("damaged")
    assert main(["weights", "metrics", "--metrics", "dists", "--from", str(downloads)]) == 1
    said = capsys.readouterr()
    assert "vgg16-397923af.pth is damaged (its sha256 begins" in said.err
    assert "get it again: https://download.pytorch.org/models/vgg16-397923af.pth" in said.err
    assert "absent" in said.out and "present" in said.out
    assert [path.name for path in hub.rglob("*.p*")] == ["DISTS_weights-f5e65c96.pth"]


def test_a_metric_file_that_cannot_be_written_does_not_stop_the_others(
    hub: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.mkdir(parents=True)
    (hub / "checkpoints").write_text("no folder")
    assert main(["weights", "metrics", "--metrics", "dists", "--from", str(downloads)]) == 1
    said = capsys.readouterr()
    assert "checkpoints" in said.err and "Traceback" not in said.err
    assert [path.name for path in hub.rglob("*.p*")] == ["DISTS_weights-f5e65c96.pth"]


def test_weights_metrics_without_a_network_names_the_remedy(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "metrics", "--protocol", "osediff"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(
        "error: https://download.pytorch.org/models/alexnet-owt-7be5be79.pth cannot be downloaded"
    )
    assert said.err.count("unreachable") == 8 == said.err.count("--from FOLDER") == said.out.count("absent")
    assert not [path for path in hub.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["metrics", "--metrics", "lpisp"], "--metrics: no such metric: lpisp; did you mean lpips?"),
        (["metrics", "--metrics", "psnr,x"], "--metrics: no such metric: x; there are psnr, ssim, niqe, lpips"),
        (["metrics", "--protocol", "prue"], "no such protocol: prue; did you mean pure?"),
        (["metrics", "--protocol", "pure", "--metrics", "fid"], "--metrics and --protocol both select metrics"),
        (["metrics", "seed=1"], "seed=1: settings are for experiments; choose metrics with --metrics or --protocol"),
        (["metrics", "--metrics", ""], "names nothing"),
        (["metrics", "--metrics", ","], "names nothing"),
        (["metrics", "--protocol", ""], "no such protocol: ; there are osediff, pure"),
        (["demo", "--protocol", ""], "are for `lit-pure weights metrics`, without an experiment"),
        (["demo", "--metrics", "fid"], "are for `lit-pure weights metrics`, without an experiment"),
    ],
)
def test_mistakes_in_weights_metrics_are_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert main(["weights", *arguments]) == 2
    except SystemExit as refused:  # argparse's own
        assert refused.code == 2
    assert words in capsys.readouterr().err


def test_weights_metrics_says_which_metrics_need_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "metrics", "--metrics", "psnr,ssim"]) == 0
    assert capsys.readouterr().out == "these metrics need no weights\n"


def test_weights_metrics_list_imports_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from lit_pure.__main__ import main\n"
        "assert main(['weights', 'metrics', '--list']) == 0\n"
        "assert main(['weights', 'metrics', '--metrics', 'x']) == 2\n"
        "sys.exit('torch' in sys.modules or 'pyiqa' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False).returncode == 0
    )
