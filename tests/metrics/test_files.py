"""Where weights are searched, messages about missing ones, and how to get them; nothing uses the network."""

import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lit_pure.metrics import files
from lit_pure.metrics.files import MissingWeights, path_of
from lit_pure.metrics.table import METRICS, WeightsFile
from tests.server import Silent, serving

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub"


@pytest.mark.parametrize(
    "environment", [{"TORCH_HOME": "~/elsewhere"}, {"XDG_CACHE_HOME": "/cache"}, {"HOME": "/home/somebody"}]
)
def test_weights_of_metrics_are_in_torch_s_own_folder_even_before_torch_is_imported(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(files.hub_folder()) == torch.hub.get_dir()
    expected = torch.hub.get_dir()
    monkeypatch.delitem(sys.modules, "torch.hub")
    assert str(files.hub_folder()) == expected


def test_weights_of_metrics_have_the_paths_that_pyiqa_reads(home: Path) -> None:
    places = {file.name: path_of(file) for key in ("lpips", "clipiqa") for file in METRICS[key].files}
    assert places == {
        "alexnet-owt-7be5be79.pth": home / "checkpoints" / "alexnet-owt-7be5be79.pth",
        "LPIPS_v0.1_alex-df73285e.pth": home / "pyiqa" / "LPIPS_v0.1_alex-df73285e.pth",
        "RN50.pt": home / "clip" / "RN50.pt",
    }
    niqe = path_of(METRICS["niqe"].files[0])
    assert niqe.is_file() and niqe.parts[-3:] == ("basicsr", "metrics", "niqe_pris_params.npz")


def test_metrics_without_weights_are_refused_or_skipped(home: Path) -> None:
    keys = ["psnr", "lpips", "niqe", "fid"]
    assert {key: len(found) for key, found in files.absent_files(keys).items()} == {"lpips": 2, "fid": 1}
    assert files.require(keys, "skip") == (["psnr", "niqe"], ["lpips", "fid"])
    with pytest.raises(MissingWeights) as told:
        files.require(keys)
    words = str(told.value)
    assert f"lpips needs {home}/checkpoints/alexnet-owt-7be5be79.pth, {home}/pyiqa/LPIPS" in words
    assert words.endswith("get them: lit-pure weights metrics --metrics lpips,fid") and "\n" not in words
    with pytest.raises(ValueError, match="no such metric: lpis; did you mean lpips?"):
        files.require(["lpis"], "skip")
    assert files.require(["psnr", "niqe"]) == (["psnr", "niqe"], [])


def test_niqe_is_missing_where_basicsr_is_and_the_remedy_installs_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "basicsr" else find_spec(name))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(home))
    assert files.require(["psnr", "niqe"], "skip") == (["psnr"], ["niqe"])
    assert files.state_of(METRICS["niqe"].files[0]) == "absent"
    with pytest.raises(MissingWeights, match=r"basicsr/metrics/niqe_pris_params.npz; get them: make setup$"):
        files.require(["niqe"])
    assert files.remedy(["niqe", "lpips"]) == "lit-pure weights metrics --metrics lpips and make setup"


def own_metric(monkeypatch: pytest.MonkeyPatch, url: str = "https://nowhere.invalid/w%2B1.pth") -> WeightsFile:
    """A file with a known digest in place of MUSIQ's."""
    file = WeightsFile("w%2B1.pth", url, "pyiqa", DIGEST[:8])
    monkeypatch.setitem(METRICS, "musiq", replace(METRICS["musiq"], files=(file,)))
    return file


def test_weights_are_absent_present_or_damaged_and_identified_by_digest(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own_metric(monkeypatch)
    assert files.state_of(file) == "absent"
    path_of(file).parent.mkdir(parents=True)
    path_of(file).write_bytes(CONTENT)
    assert files.state_of(file) == "present"
    known = files.identity(["psnr", "niqe", "musiq"])
    assert known["pyiqa"] == "0.1.16" and known["weights"]["musiq"] == {"w%2B1.pth": DIGEST}
    niqe = hashlib.sha256(path_of(METRICS["niqe"].files[0]).read_bytes()).hexdigest()
    assert known["weights"]["niqe"] == {"metrics/niqe_pris_params.npz": niqe} and "psnr" not in known["weights"]
    path_of(file).write_bytes(CONTENT[:-1])  # a digest that was computed once is not believed of another file
    assert files.state_of(file) == "damaged"
    with pytest.raises(ValueError, match=r"w%2B1.pth, which musiq reads, is damaged .*metrics --metrics musiq"):
        files.verify("musiq")


def test_weights_are_fetched_from_a_folder_only_when_sound(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = own_metric(monkeypatch), tmp_path / "downloads"
    folder.mkdir()
    with pytest.raises(ValueError, match="downloads does not contain w%2B1.pth; get it: https://nowhere.invalid"):
        files.fetch(file, folder)
    (folder / "w+1.pth").write_bytes(CONTENT[:100])  # as browsers name it
    with pytest.raises(ValueError, match=rf"w\+1.pth is damaged \(its sha256 begins .* instead of {DIGEST[:8]}\)"):
        files.fetch(file, folder)
    assert not list(home.rglob("*w*")), "nothing is left of what was refused"
    (folder / "w%2B1.pth").write_bytes(CONTENT)
    assert files.fetch(file, folder) == home / "pyiqa" / "w%2B1.pth"
    assert files.state_of(file) == "present" and [path.name for path in home.rglob("*w*")] == ["w%2B1.pth"]
    with pytest.raises(ValueError, match="comes with basicsr, which is missing or incomplete; install it: make setup"):
        files.fetch(METRICS["niqe"].files[0], folder)


class Server(Silent):
    """Gives CONTENT, without its last `cut` bytes or with its first byte changed."""

    cut, changed = 0, False

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/w%2B1.pth" else 404)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write((b"W" if self.changed else b"w") + CONTENT[1 : len(CONTENT) - self.cut])


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(Server, monkeypatch) as address:
        yield address


def test_downloaded_weights_are_whole_and_checked_or_absent(
    home: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own_metric(monkeypatch, f"{files.HUB}/w%2B1.pth")
    monkeypatch.setenv("HF_ENDPOINT", address + "/")
    for name, value, words in (
        ("cut", 5, "it ended after 6,995 of 7,000 bytes"),
        ("changed", True, "its sha256 begins"),
    ):
        with monkeypatch.context() as here:
            here.setattr(Server, name, value)
            with pytest.raises(ValueError, match=rf"cannot be downloaded \({words}.*--from FOLDER"):
                files.fetch(file)
        assert not list(home.rglob("*w*"))
    path_of(file).write_bytes(b"damaged")
    assert files.fetch(file).read_bytes() == CONTENT, "what is damaged is mended"
    gone = replace(file, url=f"{address}/gone.pth")
    with pytest.raises(ValueError, match="gone.pth cannot be downloaded .*404.*put w%2B1.pth into a folder"):
        files.fetch(gone)
    assert path_of(file).read_bytes() == CONTENT, "a download that fails takes nothing away"


def test_fetching_weights_without_a_network_names_the_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    words = "LPIPS.* cannot be downloaded .*unreachable.*; put LPIPS_v0.1_alex-df73285e.pth into a folder .*: --from"
    with pytest.raises(ValueError, match=words):
        files.fetch(METRICS["lpips"].files[1])
