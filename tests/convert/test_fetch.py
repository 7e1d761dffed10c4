"""Published weights through the command line: from downloaded files to a run that restores, and what goes wrong."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.config.compose import PROJECT, compose
from lit_pure.config.dem import DemConfig
from lit_pure.config.pure import BackboneConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.convert import fetch
from lit_pure.convert.chameleon import write_chameleon
from lit_pure.convert.deresnet import to_deresnet
from lit_pure.convert.llamagen import write_llamagen
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.degradation.weights import load_dem
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.families.table import restorer_of
from lit_pure.images.io import read_image, write_png
from lit_pure.models import weights
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs import folder as runs
from tests.server import Silent, serving

DEM = DemConfig(features=[4, 6], blocks=[1, 1], downscales=[2, 1], calibration=9)
VQ = VQConfig(channels=[32, 32, 32, 32], res_blocks=1, z_channels=8, codes=40)
SMALL = {
    "tokenizer/official": "vq: {channels: [32, 32, 32, 32], res_blocks: 1, z_channels: 8, codes: 40}\n",
    "dem/official": "data: {size: 64}\ndem: {features: [4, 6], blocks: [1, 1], downscales: [2, 1], calibration: 9}\n",
    "pure/official": "data: {size: 64, num_workers: 0, test: {ost_val: {source: skimage, lq: '', captions: pixels, "
    "names: [coffee]}}}\n"
    "evaluation: {metrics: [psnr]}\nsampling: {max_text: 4}\ntrainer: {accelerator: cpu, precision: 32-true}\n",
}


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has after downloading by hand: vq_ds8_c2i.pt, PURE/ and text_tokenizer.json, all small."""
    folder = tmp_path_factory.mktemp("downloads")
    torch.manual_seed(0)
    vocabulary = make_vocabulary(["Medium blur, small noise."] * 3, codes=40, words=280)
    backbone = NextTokenBackbone(BackboneConfig(width=32, layers=2, heads=4, ffn=48), vocabulary.size)
    write_chameleon(folder / "PURE", backbone.to(torch.bfloat16), vocabulary)
    (folder / "PURE" / "text_tokenizer.json").rename(folder / "text_tokenizer.json")
    write_llamagen(folder / "vq_ds8_c2i.pt", VQTokenizer(VQ))
    return folder


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose official experiments are small, without a network."""
    shutil.copytree(PROJECT / "experiments", tmp_path / "experiments")
    for name, changes in SMALL.items():
        real = tmp_path / "experiments" / f"{name}.yaml"
        real.rename(real.with_name("real.yaml"))
        real.write_text(f"base: {Path(name).parent}/real\n{changes}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def imported(house: Path, downloads: Path) -> Path:
    """The house with both imports done."""
    assert main(["weights", "pure/official", "--from", str(downloads)]) == 0
    return house


def stored(folder: Path) -> dict[str, Tensor]:
    return weights.read_state(folder)


def test_weights_list_shows_what_is_absent_before_and_sound_after_an_import(
    house: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pure/official", "--list"]) == 0
    before = capsys.readouterr().out
    assert before.count("absent") == 2 and "lit-pure weights tokenizer/official" in before
    assert not (house / "runs").exists()
    assert main(["weights", "pure/official", "--from", str(downloads)]) == 0
    assert main(["weights", "pure/official", "--list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert rows == [
        [name, f"{repo}@main", "ok", "agrees", f"runs/{name}/version_0"]
        for name, repo in (("tokenizer/official", "FoundationVision/LlamaGen"), ("pure/official", "nonwhy/PURE"))
    ]


def test_imported_weights_are_an_ordinary_finished_run(imported: Path, downloads: Path) -> None:
    run = runs.require("pure/official")
    assert run.label == "pure/official/version_0" and run.finished
    experiment = run.experiment()
    assert (experiment.backbone.width, experiment.backbone.layers, experiment.backbone.heads) == (32, 2, 4)
    provenance, summary = run.provenance(), run.summary()
    assert provenance["needs"] == {"tokenizer": "tokenizer/official/version_0"}
    for name, digest in provenance["source"]["sha256"].items():
        path = next(downloads.rglob(name))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert set(provenance["source"]["sha256"]) == {"config.json", "model.safetensors", "text_tokenizer.json"}
    assert summary["source"] == "nonwhy/PURE@main" and summary["family"] == "pure" and summary["base"] == "pure/real"
    assert not any(isinstance(value, dict) for value in summary.values())
    theirs, ours = stored(downloads / "PURE"), stored(run.weights)
    assert summary["parameters"] == sum(item.numel() for item in ours.values())
    assert {item.dtype for item in ours.values()} == {torch.bfloat16}, "as the checkpoint has it"
    assert torch.equal(ours["embed.weight"], theirs["model.embed_tokens.weight"])


def test_imported_weights_restore_and_are_sampled_from_without_training_data(
    imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restored = restorer_of(runs.require("pure/official")).restore(torch.rand(1, 3, 16, 16), ["a"])[0]
    assert restored.image_3HW.shape == (3, 64, 64) and restored.image_3HW.dtype == torch.float32
    write_png(imported / "photo.png", torch.rand(3, 12, 16))
    assert main(["restore", "photo.png", "--run", "pure/official", "--out", "restored"]) == 0
    assert read_image(imported / "restored" / "photo.png").shape == (3, 48, 64)
    assert not Path(compose("pure/official").data.train.source).exists()
    assert main(["run", "ablations/sampling/top1", "base=pure/official"]) == 0
    run = runs.require("ablations/sampling/top1")
    assert run.provenance()["needs"]["weights"] == "pure/official/version_0" and "test/ost_val/psnr" in run.summary()
    assert set(run.provenance()["dataset"]) == {"test/ost_val"}
    capsys.readouterr()
    assert main(["report"]) == 0
    assert "pure/official/version_0" in capsys.readouterr().out
    assert main(["weights", "ablations/sampling/top1", "base=pure/official", "--list"]) == 0
    assert capsys.readouterr().out.count("agrees") == 2


def test_an_experiment_with_published_weights_is_never_trained(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "pure/official"]) == 2
    assert "import them with: lit-pure weights pure/official" in capsys.readouterr().err
    assert main(["run", "ablations/guidance/none", "base=pure/official"]) == 2
    assert "import them with: lit-pure weights pure/official" in capsys.readouterr().err
    assert main(["run", "pure/nano", "needs.tokenizer=tokenizer/official"]) == 2
    assert "lit-pure weights tokenizer/official" in capsys.readouterr().err
    assert main(["run", "ablations/sampling/top1", "base=pure/official"]) == 2
    assert "make it with: lit-pure weights pure/official" in capsys.readouterr().err
    assert main(["restore", "photo.png", "--run", "pure/official"]) == 2
    assert "make it with: lit-pure weights pure/official" in capsys.readouterr().err
    assert not (house / "runs").exists()


def test_damaged_weights_are_seen_and_mended_where_they_stand(
    imported: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = imported / "runs" / "tokenizer" / "official" / "version_0" / "weights" / "model.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-8] + b"damaged!")
    assert main(["weights", "pure/official", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "damaged" in shown and "is not what was written" in shown
    assert main(["weights", "pure/official", "--from", str(downloads)]) == 0
    assert path.read_bytes() == good and len(runs.versions("tokenizer/official")) == 1


def test_imported_weights_converted_back_are_the_published_files(imported: Path, downloads: Path) -> None:
    assert main(["convert", "pure/official", "--out", "back"]) == 0
    theirs, again = stored(downloads / "PURE"), stored(imported / "back")
    assert theirs.keys() == again.keys() and all(torch.equal(theirs[key], again[key]) for key in theirs)
    assert (imported / "back" / "text_tokenizer.json").is_file()
    assert main(["convert", "pure/official", "--out", "back"]) == 1, "it exists"
    assert main(["convert", "tokenizer/official", "--out", "vq.pt"]) == 0
    a, b = (torch.load(path, weights_only=True)["model"] for path in (downloads / "vq_ds8_c2i.pt", "vq.pt"))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_sampling_experiment_imports_its_weights_and_what_they_were_built_on(house: Path, downloads: Path) -> None:
    assert main(["weights", "ablations/sampling/top1", "base=pure/official", "--from", str(downloads)]) == 0
    made = [run.label for run in runs.finished()]
    assert made == ["pure/official/version_0", "tokenizer/official/version_0"]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line on standard error, beside the progress of downloads, that a command is refused with."""
    capsys.readouterr()
    assert main(arguments) in (1, 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line and "it/s]" not in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_an_import_without_a_network_says_in_one_line_what_to_do(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = refused(capsys, ["weights", "tokenizer/official"])
    assert "https://huggingface.co/FoundationVision/LlamaGen cannot be downloaded" in words
    assert "put vq_ds8_c2i.pt into a folder and give it: --from FOLDER" in words


def test_folders_that_lack_published_files_are_named(
    house: Path, downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not a folder" in refused(capsys, ["weights", "pure/official", "--from", "nowhere"])
    (tmp_path / "empty").mkdir()
    words = refused(capsys, ["weights", "tokenizer/official", "--from", "empty"])
    assert "neither empty nor empty/LlamaGen contains vq_ds8_c2i.pt of https://huggingface.co/FoundationVision" in words
    shutil.copytree(downloads, tmp_path / "some")
    (tmp_path / "some" / "text_tokenizer.json").unlink()
    words = refused(capsys, ["weights", "pure/official", "--from", "some"])
    assert "some lacks text_tokenizer.json; get it: https://raw.githubusercontent.com/nonwhy/PURE" in words
    assert [run.label for run in runs.finished()] == ["tokenizer/official/version_0"], "what was imported stays"


def test_an_import_that_fails_leaves_no_finished_run(
    house: Path, downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(downloads, tmp_path / "broken")
    path = tmp_path / "broken" / "PURE" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    words = refused(capsys, ["weights", "pure/official", "--from", "broken"])
    assert (
        "model.safetensors cannot be read" in words and "download it again: https://huggingface.co/nonwhy/PURE" in words
    )
    assert runs.newest_finished("pure/official") is None and not (house / "runs/pure/official/version_0").exists()
    # One that is killed leaves a folder; the next import takes it.
    (house / "runs/pure/official/version_0/weights").mkdir(parents=True)
    assert main(["weights", "pure/official", "--from", str(downloads)]) == 0
    assert runs.require("pure/official").label == "pure/official/version_0"


def test_an_import_on_a_small_disk_is_refused_before_anything_is_written(
    house: Path, downloads: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(house)._replace(free=1000)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda place: usage)
    words = refused(capsys, ["weights", "tokenizer/official", "--from", str(downloads)])
    assert "importing tokenizer/official writes" in words and "make room there" in words
    assert not (house / "runs").exists()


def test_a_vocabulary_and_a_tokenizer_must_have_the_same_codes(
    house: Path, downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(downloads, tmp_path / "other")
    write_llamagen(tmp_path / "other" / "vq_ds8_c2i.pt", VQTokenizer(replace(VQ, codes=20)))
    settings = house / "experiments" / "tokenizer" / "official.yaml"
    settings.write_text(settings.read_text().replace("codes: 40", "codes: 20"))
    words = refused(capsys, ["weights", "pure/official", "--from", "other"])
    assert "tokenizer/official/version_0 has 20 codes, the vocabulary 40" in words


class Hub(Silent):
    """As much of the hub as a download asks for, and the vocabulary at its own address."""

    content: ClassVar[dict[str, dict[str, bytes]]] = {}
    taken: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        for repo, files in self.content.items():
            if path.startswith(f"/api/models/{repo}/tree/"):
                return self.json([self.described(name, content) for name, content in files.items()])
            if path.startswith(f"/api/models/{repo}/"):
                return self.json({"id": repo, "sha": "a" * 40, "siblings": [{"rfilename": name} for name in files]})
            if path.startswith(f"/{repo}/resolve/"):
                name = path.rpartition("/")[2]
                tag = self.described(name, files[name])["oid"]
                return self.answer(files[name], {"X-Repo-Commit": "a" * 40, "ETag": f'"{tag}"'}, name)
        return self.answer(b"nothing here", {"X-Error-Code": "RepoNotFound"}, "", 404)

    def described(self, name: str, content: bytes) -> dict[str, object]:
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def json(self, content: object) -> None:
        self.answer(json.dumps(content).encode(), {"Content-Type": "application/json"}, "")

    def answer(self, content: bytes, headers: dict[str, str], name: str, code: int = 200) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.taken.extend(filter(None, [name]))
            self.wfile.write(content)


@pytest.fixture
def hub(downloads: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The real client talks to a hub on this machine; there are pickles and a README beside the safetensors."""
    pure = {path.name: path.read_bytes() for path in (downloads / "PURE").iterdir()}
    pure |= {"pytorch_model.bin": b"not to be taken", "README.md": b"nor this"}
    Hub.content = {
        "nonwhy/PURE": pure,
        "FoundationVision/LlamaGen": {"vq_ds8_c2i.pt": (downloads / "vq_ds8_c2i.pt").read_bytes()},
        "a/vocabulary": {"text_tokenizer.json": (downloads / "text_tokenizer.json").read_bytes()},
    }
    Hub.taken = []
    with serving(Hub, monkeypatch) as address:
        for name, value in {"HF_HUB_OFFLINE": False, "ENDPOINT": address}.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        template = "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE"
        monkeypatch.setattr(template, address + "/{repo_id}/resolve/{revision}/{filename}")
        yield address


def test_an_import_downloads_only_the_files_it_needs(
    house: Path, downloads: Path, hub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = refused(capsys, ["weights", "tokenizer/official", "source.repo=gone/away"])
    assert "https://huggingface.co/gone/away cannot be downloaded" in words and "--from FOLDER" in words
    words = refused(capsys, ["weights", "tokenizer/official", "source.files=[absent.pt]"])
    assert "https://huggingface.co/FoundationVision/LlamaGen has no absent.pt; set source.files" in words
    words = refused(capsys, ["weights", "pure/official", f"source.vocabulary={hub}/absent.json"])
    assert "absent.json cannot be downloaded (HTTP Error 404" in words and "--from FOLDER" in words
    assert sorted(Hub.taken) == ["config.json", "model.safetensors", "vq_ds8_c2i.pt"], "only the vocabulary is missing"
    url = f"{hub}/a/vocabulary/resolve/main/text_tokenizer.json"
    assert main(["weights", "pure/official", f"source.vocabulary={url}"]) == 0
    assert Hub.taken[3:] == ["text_tokenizer.json"], "what was downloaded is not downloaded again"
    digests = json.loads((house / "runs/pure/official/version_0/provenance.json").read_text())["source"]["sha256"]
    expected = hashlib.sha256((downloads / "text_tokenizer.json").read_bytes()).hexdigest()
    assert digests["text_tokenizer.json"] == expected and "pytorch_model.bin" not in digests


def test_needs_that_must_be_trained_name_their_command(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "demo"]) == 1
    shown = capsys.readouterr().out
    assert "make exp NAME=tokenizer/nano" in shown and "dem/bsds500/shipped" in shown
    assert main(["weights", "demo", "needs.dem=dem/paper"]) == 1
    assert "make exp NAME=dem/paper" in capsys.readouterr().out
    assert "no experiment" in refused(capsys, ["weights", "pure/offical"])
    assert "make exp NAME=pure/nano" in refused(capsys, ["convert", "pure/nano", "--out", "x"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["source.layout=chameleon"], "source.repo is empty, which layout chameleon needs"),
        (["source.layout=onnx"], "source.layout = 'onnx'"),
    ],
)
def test_a_source_that_says_too_little_is_refused(
    house: Path, capsys: pytest.CaptureFixture[str], settings: list[str], words: str
) -> None:
    assert words in refused(capsys, ["weights", "pure/nano", *settings])


def test_a_layout_of_another_family_is_refused(
    house: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["source.layout=chameleon", "source.vocabulary=text_tokenizer.json", "source.files=[vq_ds8_c2i.pt]"]
    words = refused(capsys, ["weights", "tokenizer/official", *settings, "--from", str(downloads)])
    assert "source.layout = chameleon is not a layout for family tokenizer" in words
    assert not runs.finished()


@pytest.fixture
def released(tmp_path: Path) -> bytes:
    """MMRealSRGAN.pth, small: the estimator is a part of a larger network."""
    torch.manual_seed(0)
    theirs = to_deresnet(DegradationEstimator(DEM).state_dict(), DEM)
    state = {"conv_first.weight": torch.zeros(2), **{f"de_net.{name}": item for name, item in theirs.items()}}
    torch.save({"params": state}, tmp_path / "MMRealSRGAN.pth")
    return (tmp_path / "MMRealSRGAN.pth").read_bytes()


def test_an_estimator_is_imported_with_the_author_s_thresholds_and_converted_back(
    house: Path, released: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (house / "downloads").mkdir()
    (house / "downloads" / "MMRealSRGAN.pth").write_bytes(released)
    assert main(["weights", "dem/official", "--from", "downloads"]) == 0
    run = runs.require("dem/official")
    summary, estimator = run.summary(), load_dem(run.weights)
    assert "calibrated_on" not in summary and summary["source"] == "TencentARC/MM-RealSR@v1.0.0"
    torch.testing.assert_close(estimator.thresholds_22, torch.tensor([[1 / 3, 2 / 3]] * 2))
    assert summary["parameters"] == sum(item.numel() for item in estimator.parameters())
    assert main(["convert", "dem/official", "--out", "back.pth"]) == 0
    again = torch.load("back.pth", weights_only=True)["params"]
    first = torch.load("downloads/MMRealSRGAN.pth", weights_only=True)["params"]
    assert len(again) == len(first) - 1
    assert all(torch.equal(item, first[f"de_net.{key}"]) for key, item in again.items())
    write_png(house / "photo.png", torch.rand(3, 20, 30))
    assert main(["score", "photo.png", "--run", "dem/official"]) == 0
    assert main(["run", "dem/official"]) == 2
    assert "import them with: lit-pure weights dem/official" in capsys.readouterr().err


def test_an_estimator_of_terciles_is_calibrated_on_the_photographs_it_is_for(house: Path, released: bytes) -> None:
    for name in "abc":
        write_png(house / f"{name}.png", torch.rand(3, 70, 80))
    terciles = ["weights", "dem/official", "dem.labels=terciles"]
    assert main([*terciles, "data.train.source=.", "--from", "."]) == 0
    run = runs.require("dem/official")
    low_2, high_2 = load_dem(run.weights).thresholds_22.T
    assert (low_2 < high_2).all() and run.summary()["calibrated_on"] == "."
    shutil.rmtree(run.folder)
    assert main([*terciles, "--from", "."]) == 0
    run = runs.require("dem/official")
    assert compose("dem/official").data.train.source != "skimage" == run.experiment().data.train.source
    assert run.summary()["calibrated_on"] == "skimage", "where the photographs of data.train are absent"


class Releases(Silent):
    """One file of one release."""

    content: ClassVar[bytes] = b""
    asked: ClassVar[list[str]] = []
    cut: ClassVar[int] = 0
    """Bytes that do not arrive."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.path.endswith("/v1.0.0/MMRealSRGAN.pth") else 404)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) - self.cut])


def test_an_estimator_is_downloaded_from_its_release(
    house: Path, released: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(house / "torch"))
    Releases.content, Releases.asked = released, []
    with serving(Releases, monkeypatch) as address:
        monkeypatch.setitem(fetch.RELEASES, "deresnet", address)
        assert main(["weights", "dem/official", "source.revision=v9"]) == 1
        words = capsys.readouterr().err
        assert "/releases/download/v9/MMRealSRGAN.pth cannot be downloaded (HTTP Error 404" in words
        assert "put MMRealSRGAN.pth into a folder and give it: --from FOLDER" in words
        assert not list((house / "torch").rglob("*.pth*")) and not (house / "runs").exists()
        monkeypatch.setattr(Releases, "cut", 10)
        assert main(["weights", "dem/official"]) == 1
        assert "bytes" in capsys.readouterr().err and not list((house / "torch").rglob("*.pth*")), "half is not kept"
        monkeypatch.setattr(Releases, "cut", 0)
        assert main(["weights", "dem/official"]) == 0
    path = "/TencentARC/MM-RealSR/releases/download/{}/MMRealSRGAN.pth"
    assert Releases.asked == [path.format("v9"), path.format("v1.0.0"), path.format("v1.0.0")]
    kept = house / "torch" / "hub" / "TencentARC" / "MM-RealSR" / "v1.0.0" / "MMRealSRGAN.pth"
    assert kept.read_bytes() == released
