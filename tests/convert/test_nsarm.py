"""Infinity and NSARM through the command line: small checkpoints in the published layouts, and what goes wrong."""

import shutil
from pathlib import Path

import pytest
import torch

from lit_pure import Restorer
from lit_pure.__main__ import main
from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.config.compose import PROJECT, compose
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.config.transformation import TransformationConfig
from lit_pure.convert.infinity import join_nsarm, to_infinity
from lit_pure.convert.infinity_vae import write_infinity_vae
from lit_pure.convert.nsarm_map import to_nsarm_map
from lit_pure.families.nsarm.network import load_network
from lit_pure.families.table import restorer_of
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.next_scale import NextScaleTransformer
from lit_pure.models.transformation import PublishedTransformation
from lit_pure.runs import folder as runs
from tests.families.nsarm.small import experiment

VAE = BitTokenizerConfig(width=24, multipliers=[1, 1, 1], res_blocks=1, bits=4, patch=1, sides=[1, 2, 4, 8])
MAP = TransformationConfig(layout="raw", stem=[6], widths=[8, 8], layers=[1, 1], heads=[2, 2], side=2)
TRANSFORMER = experiment().transformer
BSQ = "bsq: {width: 24, multipliers: [1, 1, 1], res_blocks: 1, bits: %d, patch: 1, sides: [1, 2, 4, 8]}\n"
REST = (
    "data: {size: 32, num_workers: 0}\nevaluation: {metrics: [psnr]}\n"
    "text: {kind: hashed, width: 8, max_tokens: 6}\n"
    "transformer: {text_width: 8, text_length: 6}\ntrainer: {accelerator: cpu, precision: 32-true}\n"
)
SMALL = {
    "nsarm/official/tokenizer": "data: {size: 32}\n" + BSQ % 4,
    "nsarm/infinity_2b/tokenizer": "data: {size: 32}\n" + BSQ % 6,
    "nsarm/official": REST + "transformation: {stem: [6], widths: [8, 8], layers: [1, 1], heads: [2, 2], side: 2}\n",
    "nsarm/infinity_8b": REST,
    "nsarm/infinity_2b": REST,
}
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NSARM.pth, Infinity's files and both tokenizers, all small."""
    folder = tmp_path_factory.mktemp("downloads")
    torch.manual_seed(0)
    theirs = to_infinity(NextScaleTransformer(TRANSFORMER).state_dict(), TRANSFORMER, chunks=2)
    network = to_nsarm_map(PublishedTransformation(MAP, VAE.bits).state_dict(), MAP, VAE.bits)
    torch.save(join_nsarm(theirs, {name.removeprefix("map_transformer."): item for name, item in network.items()}),
               folder / "NSARM.pth")  # fmt: skip
    torch.save(theirs, folder / "infinity_2b_reg.pth")
    (folder / "infinity_8b_weights").mkdir()
    torch.save(theirs, folder / "infinity_8b_weights" / "pytorch_model.bin")
    write_infinity_vae(folder / "infinity_vae_d56_f8_14_patchify.pth", BitTokenizer(VAE))
    write_infinity_vae(folder / "infinity_vae_d32reg.pth", BitTokenizer(BitTokenizerConfig(**{**vars(VAE), "bits": 6})))
    return folder


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose official experiments are small, without a network."""
    shutil.copytree(PROJECT / "experiments", tmp_path / "experiments")
    for name, changes in SMALL.items():
        real = tmp_path / "experiments" / f"{name}.yaml"
        real.rename(real.with_name(f"real_{real.name}"))
        real.write_text(f"base: {Path(name).with_name('real_' + Path(name).name)}\n{changes}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def refused(capsys: Captured, words: list[str]) -> str:
    assert main(words) in (1, 2)
    return capsys.readouterr().err


def test_nsarm_is_imported_restores_and_is_converted_back(house: Path, downloads: Path, capsys: Captured) -> None:
    assert main(["weights", "nsarm/official", "--from", str(downloads)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    assert [row[:3] for row in rows] == [
        ["nsarm/official/tokenizer", "FoundationVision/Infinity@main", "ok"],
        ["nsarm/official", "Xiangtaokong/NSARM@main", "ok"],
    ]
    run = runs.require("nsarm/official")
    assert run.experiment_as(NSARMExperiment).transformer.bits == 4
    restorer = restorer_of(run)
    restored = restorer.restore_photo(torch.rand(3, 8, 8), "photo")
    assert restored.pixels_3HW.shape == (3, 32, 32)
    assert main(["convert", "nsarm/official", "--out", "back.pth"]) == 0
    first, again = (torch.load(path, weights_only=True) for path in (downloads / "NSARM.pth", Path("back.pth")))
    assert first.keys() == again.keys() and all(torch.equal(item, again[name]) for name, item in first.items())
    assert same_restorer("nsarm/official", "back.pth")
    assert main(["convert", "nsarm/official/tokenizer", "--out", "vae.pth"]) == 0
    vae = downloads / "infinity_vae_d56_f8_14_patchify.pth"
    first, again = (torch.load(path, weights_only=True)["vae"] for path in (vae, Path("vae.pth")))
    assert first.keys() == again.keys() and all(torch.equal(item, again[name]) for name, item in first.items())


def same_restorer(*names: str) -> bool:
    """Whether both names give the same picture of a photograph, and it is not flat."""
    photo_3hw = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    first, again = (Restorer.from_pretrained(name)(photo_3hw).tensor for name in names)
    return torch.equal(first, again) and bool(first.std() > 0.01)


def test_infinity_is_imported_from_a_folder_and_converted_back(house: Path, downloads: Path) -> None:
    assert main(["weights", "nsarm/infinity_8b", "--from", str(downloads)]) == 0
    network = load_network(runs.require("nsarm/infinity_8b").weights)
    assert network.transformation is None and network.config.latent == 4
    assert main(["convert", "nsarm/infinity_8b", "--out", "back.pth"]) == 0
    first, again = (
        torch.load(path, weights_only=True) for path in (downloads / "infinity_2b_reg.pth", Path("back.pth"))
    )
    assert first.keys() == again.keys() and all(torch.equal(item, again[name]) for name, item in first.items())
    assert same_restorer("nsarm/infinity_8b", "back.pth")


def test_a_tokenizer_of_other_bits_is_refused(house: Path, downloads: Path, capsys: Captured) -> None:
    words = refused(capsys, ["weights", "nsarm/infinity_2b", "--from", str(downloads)])
    assert "has 4 bits per token, and the tokenizer nsarm/infinity_2b/tokenizer" in words and "has 6" in words
    assert "set needs.tokenizer" in words and runs.newest_finished("nsarm/infinity_2b") is None
    assert (
        main(["weights", "nsarm/infinity_2b", "needs.tokenizer=nsarm/official/tokenizer", "--from", str(downloads)])
        == 0
    )


def test_a_tokenizer_s_file_of_other_sizes_is_refused(house: Path, downloads: Path, capsys: Captured) -> None:
    words = ["weights", "nsarm/official/tokenizer", "source.files=[infinity_vae_d32reg.pth]", "--from", str(downloads)]
    assert "encoder.conv_out.conv.bias [6] instead of [4]" in refused(capsys, words)


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("nsarm/official", ["source.files=[infinity_2b_reg.pth]"], "has no transformation network"),
        ("nsarm/infinity_8b", ["source.files=[NSARM.pth]"], "set source.layout=nsarm"),
        ("nsarm/official", ["stage=pretrain"], "take stage2"),
        ("nsarm/official", ["source.layout=infinity_vae"], "is not a layout for family nsarm"),
        ("nsarm/official", ["needs.tokenizer="], "needs.tokenizer names no run"),
    ],
)
def test_what_a_layout_does_not_hold_is_refused(
    name: str, settings: list[str], told: str, house: Path, downloads: Path, capsys: Captured
) -> None:
    assert told in refused(capsys, ["weights", name, *settings, "--from", str(downloads)])
    assert runs.newest_finished(name) is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("cut", "cannot be read"),
        ("missing", "1 missing: head.weight"),
        ("unknown", "1 unknown: extra"),
        ("misshapen", "1 of another shape: feature_extractor.0.bias [7] instead of [6]"),
        ("empty", "it lacks word_embed.weight"),
    ],
)
def test_a_damaged_file_is_refused_with_a_remedy(
    damage: str, told: str, house: Path, downloads: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(downloads, folder)
    path = folder / "NSARM.pth"
    state = torch.load(path, weights_only=True)
    if damage == "missing":
        del state["head.weight"]
    elif damage == "empty":
        state = {name: item for name, item in state.items() if name.startswith("map_transformer.")}
    else:
        name = "extra" if damage == "unknown" else "map_transformer.feature_extractor.0.bias"
        state[name] = torch.zeros(7)
    torch.save(state, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    words = refused(capsys, ["weights", "nsarm/official", "--from", str(folder)])
    assert told in words and "download it again: https://github.com/Xiangtaokong/NSARM" in words
    assert runs.newest_finished("nsarm/official") is None


def test_a_file_that_needs_a_browser_says_where_it_is(house: Path, downloads: Path, capsys: Captured) -> None:
    assert main(["weights", "nsarm/official/tokenizer", "--from", str(downloads)]) == 0
    words = refused(capsys, ["weights", "nsarm/official"])
    assert "NSARM.pth is on drives that need a browser; https://github.com/Xiangtaokong/NSARM names them" in words
    assert "cat PART... > NSARM.pth" in words and "--from FOLDER" in words


@pytest.mark.parametrize(
    ("name", "parameters", "bits"), [("nsarm/official", 8_760_895_424, 56), ("nsarm/infinity_2b", 2_204_564_032, 32)]
)
def test_the_published_experiments_have_the_published_sizes(name: str, parameters: int, bits: int) -> None:
    from lit_pure.families.nsarm.build import network_config
    from lit_pure.families.nsarm.network import NSARMNetwork
    from lit_pure.families.nsarm.schedule import check_fit, tokenizer_config

    made = compose(name)
    assert isinstance(made, NSARMExperiment)
    tokenizer = tokenizer_config(made.needs.tokenizer)
    with torch.device("meta"):
        network = NSARMNetwork(network_config(made, tokenizer.bits))
    assert sum(item.numel() for item in network.parameters()) == parameters
    assert tokenizer.token_bits == bits == made.transformer.bits and check_fit(made, tokenizer).known == 7
