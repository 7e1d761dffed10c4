"""Networks are built silently from existing, undamaged files, and nothing uses the network."""

import hashlib
import os
import pickle
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lit_pure.metrics.files import MissingWeights, path_of
from lit_pure.metrics.offline import NetworkForbidden, build_network, no_network
from lit_pure.metrics.score import Frechet, Scorer
from lit_pure.metrics.table import METRICS
from tests.metrics import foreign


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TORCH_HOME for random weights, which are large, so they are deleted at once."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    yield tmp_path
    for path in tmp_path.rglob("*.pt*"):
        path.unlink()


class NoSocket:
    """In place of `socket.socket`."""

    def __init__(self, *arguments: object, **options: object) -> None:
        raise AssertionError("a socket was opened")


@pytest.mark.parametrize("key", [key for key, info in METRICS.items() if not info.exact])
def test_scoring_without_weights_opens_no_socket(key: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", NoSocket)
    with pytest.raises(MissingWeights, match=rf"{home}.*lit-pure weights metrics --metrics {key.replace('+', '.')}$"):
        (Frechet if key == "fid" else Scorer)(key)


@pytest.mark.parametrize(
    "key", ["lpips", "dists", "musiq", "maniqa", "clipiqa+", "topiq", "fid", "psnr", "ssim", "niqe"]
)
def test_building_a_network_opens_no_socket_and_prints_nothing(
    key: str, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if key in foreign.KEYS or key == "fid":
        foreign.place(key, home, monkeypatch)
    monkeypatch.setattr(socket, "socket", NoSocket)
    capfd.readouterr()
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert Frechet(key).features(image).isfinite().all() if key == "fid" else Scorer(key).scores(image, image) < 81
    assert capfd.readouterr() == ("", "")


def test_a_connection_attempt_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib, sockets and the hub's client, while a metric is at work; before and after, nothing is prevented."""
    from huggingface_hub import hf_hub_download

    with socket.create_server(("127.0.0.1", 0)) as server:
        here = server.getsockname()
        with no_network("musiq"):
            with pytest.raises(
                NetworkForbidden, match="musiq tried to reach https://nowhere.invalid/w.pth: .*--metrics musiq"
            ):
                urllib.request.urlopen("https://nowhere.invalid/w.pth")
            with pytest.raises(NetworkForbidden, match="musiq tried to reach 127.0.0.1"):
                socket.create_connection(here)
            with socket.socket() as one, pytest.raises(NetworkForbidden, match=f"reach .*127.0.0.1.*{here[1]}"):
                one.connect(here)
            with pytest.raises(NetworkForbidden, match="musiq tried to reach"):
                hf_hub_download("timm/vit_base_patch8_224", "model.safetensors", endpoint="http://a.invalid")
            others: list[object] = []  # a data loader's threads go on with what they do
            thread = threading.Thread(target=lambda: others.append(socket.create_connection(here).close()))
            thread.start()
            thread.join()
            assert others == [None]
        socket.create_connection(here).close()


@pytest.mark.parametrize("call", ["gethostbyname", "gethostbyaddr", "sendto", "sendmsg"])
def test_name_lookups_and_packets_are_refused_and_named(call: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        calls = {
            "gethostbyname": lambda: socket.gethostbyname("127.0.0.1"),
            "gethostbyaddr": lambda: socket.gethostbyaddr("127.0.0.1"),
            "sendto": lambda: one.sendto(b"x", ("127.0.0.1", 9)),
            "sendmsg": lambda: one.sendmsg([b"x"], [], 0, ("127.0.0.1", 9)),
        }
        with no_network("musiq"), pytest.raises(NetworkForbidden, match="musiq tried to reach .*127.0.0.1"):
            calls[call]()
        if call.startswith("send"):
            calls[call]()


def test_an_open_connection_may_be_used() -> None:
    one, other = socket.socketpair()
    with one, other, no_network("musiq"):
        one.sendmsg([b"x"])
        assert other.recv(1) == b"x"


def test_a_download_that_pyiqa_would_begin_is_refused_and_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the table to forget a file."""
    foreign.place("dists", home, monkeypatch)
    monkeypatch.setitem(METRICS, "dists", replace(METRICS["dists"], files=METRICS["dists"].files[:1]))
    path_of(foreign.published("dists").files[1]).unlink()
    with pytest.raises(
        NetworkForbidden, match="dists tried to reach https://huggingface.co/.*DISTS_weights-f5e65c96.pth"
    ):
        build_network(METRICS["dists"])


class Attack:
    """What a pickle may do."""

    def __reduce__(self) -> object:
        return os.system, ("touch attacked",)


def test_a_checkpoint_cannot_run_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign.place("musiq", home, monkeypatch)
    monkeypatch.chdir(home)
    path = path_of(METRICS["musiq"].files[0])
    torch.save({"conv_root.weight": Attack()}, path)
    with pytest.raises(
        ValueError, match=f"{path}, which musiq reads, is damaged .*delete it and get it again: lit-pure"
    ):
        build_network(METRICS["musiq"])
    assert not (home / "attacked").exists()
    torch.load(path, weights_only=False)
    assert (home / "attacked").exists(), "the attack itself does not work, so nothing was tested"


@pytest.mark.parametrize("key", ["lpips", "musiq", "maniqa", "clipiqa", "topiq"])
def test_damaged_weight_files_are_named(key: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, no checkpoint, and a checkpoint of something else, where no digest is published."""
    foreign.place(key, home, monkeypatch)
    path = path_of(METRICS[key].files[-1])
    whole = path.read_bytes()
    other = torch.save({"params": {"other": torch.ones(3)}}, home / "other.pt") or (home / "other.pt").read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>404</html>", b"", pickle.dumps([1, 2]), other):
        path.write_bytes(content)
        with pytest.raises(ValueError) as told:
            build_network(METRICS[key])
        words = str(told.value)
        assert words.startswith(f"{path}, which {key} reads, is damaged (") and "\n" not in words, words
        assert words.endswith(f"delete it and get it again: lit-pure weights metrics --metrics {key}")
    path.write_bytes(whole)
    build_network(METRICS[key])


def test_weights_whose_digest_is_not_in_their_name_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = METRICS["lpips"]
    foreign.place("lpips", home, monkeypatch)
    trunk, layers = published.files
    monkeypatch.setitem(METRICS, "lpips", replace(published, files=(replace(trunk, sha256=""), layers)))
    build_network(METRICS["lpips"])  # the layers are the published ones
    monkeypatch.setitem(METRICS, "lpips", published)
    with pytest.raises(
        ValueError, match=r"alexnet-owt-7be5be79.pth, which lpips reads, .*its sha256 begins .*, not 7be5be79"
    ):
        build_network(METRICS["lpips"])


def test_a_published_file_that_cannot_be_used_is_not_called_damaged(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.place("musiq", home, monkeypatch)
    file = METRICS["musiq"].files[0]
    torch.save({"another": torch.ones(3)}, path_of(file))
    known = replace(file, sha256=hashlib.sha256(path_of(file).read_bytes()).hexdigest())
    monkeypatch.setitem(METRICS, "musiq", replace(METRICS["musiq"], files=(known,)))
    with pytest.raises(
        ValueError, match=f"{path_of(file)} is as published, but musiq cannot be built from it .Runtime"
    ):
        build_network(METRICS["musiq"])


@pytest.mark.parametrize(("key", "name"), [("lpips", "lin3.model.1.weight"), ("dists", "beta")])
def test_weights_that_pyiqa_would_load_without_are_required(
    key: str, name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyiqa loads these files loosely: what they lack stays at random, and the scores mean nothing."""
    foreign.place(key, home, monkeypatch)
    path = path_of(METRICS[key].files[-1])
    content = torch.load(path, "cpu", weights_only=True)
    del content[name]
    torch.save(content, path)
    with pytest.raises(ValueError, match=f"{path.name}, which {key} reads, is damaged .*{name.split('.')[0]}"):
        build_network(METRICS[key])


def test_patched_functions_of_libraries_are_restored_also_after_an_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm
    from pyiqa.archs import clip_model
    from pyiqa.utils import download_util

    def now() -> tuple[object, ...]:
        return torch.load, timm.create_model, clip_model._download, download_util.DEFAULT_CACHE_DIR

    foreign.place("musiq", home, monkeypatch)
    before = now()
    build_network(METRICS["musiq"])
    path_of(METRICS["musiq"].files[0]).write_bytes(b"")
    with pytest.raises(ValueError):
        build_network(METRICS["musiq"])
    assert now() == before
