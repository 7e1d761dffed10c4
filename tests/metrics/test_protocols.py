"""Published ways to measure: what they pin, and mistakes in a user's file."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError
from lit_pure.metrics import protocols
from lit_pure.metrics.protocols import protocol
from lit_pure.metrics.table import METRICS


def test_the_shipped_protocols_are_the_papers_columns() -> None:
    assert protocols.names() == ["osediff", "pure"]
    columns = ["PSNR", "SSIM", "LPIPS", "DISTS", "FID", "NIQE", "MUSIQ", "MANIQA", "CLIPIQA", "TOPIQ"]
    pure, osediff = protocol("pure"), protocol("osediff")
    assert list(pure.metrics) == columns and list(osediff.metrics) == columns[:-1]
    assert pure.border == osediff.border == 0 and pure.color == osediff.color == "Y"
    # cswry/OSEDiff test_metrics.py: musiq, maniqa-pipal; with them its authors get other figures than PURE prints
    assert osediff.metrics["MUSIQ"] == "musiq" and osediff.metrics["MANIQA"] == "maniqa-pipal"
    assert pure.metrics["MUSIQ"] != "musiq" and pure.metrics["MANIQA"] == "maniqa"
    assert any("MUSIQ" in note and "guess" in note for note in pure.notes)
    for made in (pure, osediff):
        assert set(made.weights) == {key for key in made.metrics.values() if METRICS[key].files}


OWN = """title: mine
color: Y
border: 4
metrics: {PSNR: psnr, Sharpness: niqe}
weights: {niqe: [metrics/niqe_pris_params.npz]}
notes: []
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data" / "protocols" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(OWN)
    return path


def test_a_protocol_may_be_a_file_of_ones_own(own: Path) -> None:
    assert protocols.names() == ["mine", "osediff", "pure"] and protocol("pure").title.startswith("PURE")
    made = protocol("mine")
    assert (made.border, made.metrics) == (4, {"PSNR": "psnr", "Sharpness": "niqe"})
    with pytest.raises(ConfigError, match="no such protocol: mime; did you mean mine?"):
        protocol("mime")
    with pytest.raises(ConfigError, match="no such protocol: ../mine; did you mean mine?"):
        protocol("../mine")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("niqe}", "niqee}", "mine.yaml: Sharpness: no such metric: niqee; did you mean niqe?"),
        ("[metrics/niqe_pris_params.npz]", "[other.npz]", "niqe should read other.npz, but it reads metrics/niqe_pris"),
        ("{niqe: [metrics/niqe_pris_params.npz]}", "{}", "niqe should read no file, but it reads metrics/niqe_pris"),
        ("{niqe: [metrics/niqe_pris_params.npz]}", "{niqe: }", "weights must be lists of file names"),
        (
            "PSNR: psnr",
            "PSNR: [psnr]",
            "metrics: 'PSNR': ['psnr'] must be a column's name and a metric's key",
        ),
        ("PSNR: psnr", "PSNR: 5", "mine.yaml: metrics: 'PSNR': 5 must be"),
        ("PSNR: psnr", "7: psnr", "mine.yaml: metrics: 7: 'psnr' must be"),
        (
            "{niqe: [",
            "{fid: [x.pth], niqe: [",
            "mine.yaml: weights: fid: ['x.pth'] belong to no metric of this protocol",
        ),
        ("color: Y", "color: RGB", "PSNR: psnr is not measured on RGB; use another metric or color"),
        ("color: Y", "color: L", "color is L, border 4; use Y or RGB"),
        ("border: 4", "border: -1", "border -1; use Y or RGB, and 0 or more px"),
        ("border: 4", "border: four", "border must be a int, found 'four'"),
        ("border: 4", "boarder: 4", "must have exactly the keys title, color, border, metrics, weights, notes"),
        ("title: mine", "title: [", "mine.yaml is not YAML"),
    ],
)
def test_mistakes_in_a_protocol_are_named(own: Path, old: str, new: str, words: str) -> None:
    assert old in OWN
    own.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigError) as told:
        protocol("mine")
    assert words in str(told.value) and "\n" not in str(told.value)


def test_protocols_and_weight_files_need_no_torch() -> None:
    script = "import sys, lit_pure.metrics.protocols, lit_pure.metrics.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
