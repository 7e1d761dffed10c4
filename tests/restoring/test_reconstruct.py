"""Photographs through a tokenizer: cut and put together exactly, scored as scikit-image does, bad files named."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from skimage.color import rgb2ycbcr
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.datasets.sources import find_photos
from lit_pure.images.io import from_bytes, to_bytes, write_png
from lit_pure.metrics.score import Scorer
from lit_pure.models.vq import VQTokenizer
from lit_pure.restoring.reconstruct import CodeUse, ReconstructedFile, Reconstructions, reconstruct, reconstruct_files

CONFIG = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=40)
"""8 px per code."""


class Echo(VQTokenizer):
    """Gives back what it was given, so that all that is left to see is how it was cut and put together."""

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.seen: list[Tensor] = []

    def encode(self, image_B3HW: Tensor) -> Tensor:
        self.seen.append(image_B3HW)
        return super().encode(image_B3HW)

    def decode(self, codes_Bhw: Tensor, photo_B3HW: Tensor | None = None, fidelity: float = 0.0) -> Tensor:
        return self.seen[-1]


@pytest.fixture(scope="module")
def tokenizer() -> VQTokenizer:
    torch.manual_seed(0)
    return VQTokenizer(CONFIG).requires_grad_(False).eval()


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    """uint8 (3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("height", "width", "tile", "pieces"),
    [
        (64, 64, 64, [(64, 64)]),
        (61, 33, 64, [(64, 40)]),
        (1, 7, 64, [(16, 16)]),
        (65, 20, 64, [(64, 24)] * 2),
        (130, 150, 64, [(64, 64)] * 9),
        (40, 17, 16, [(16, 16)] * 3 * 2),
    ],
)
def test_what_an_exact_tokenizer_keeps_is_everything(
    height: int, width: int, tile: int, pieces: list[tuple[int, int]]
) -> None:
    echo, use, photo_3HW = Echo(), CodeUse(40), noise(height, width)
    made_3HW = reconstruct(echo, photo_3HW, use, tile)
    assert made_3HW.dtype == torch.uint8 and torch.equal(made_3HW, photo_3HW)
    assert [tuple(piece.shape[-2:]) for piece in echo.seen] == pieces
    assert use.cells == sum(high * wide // 64 for high, wide in pieces)


def test_one_piece_is_the_whole_photograph_with_its_edges_repeated(tokenizer: VQTokenizer) -> None:
    photo_3HW, use = noise(45, 52), CodeUse(40)
    padded = np.pad(photo_3HW.numpy(), ((0, 0), (0, 3), (0, 4)), mode="edge")
    codes_1hw = tokenizer.encode(from_bytes(torch.from_numpy(padded))[None])
    expected = to_bytes(tokenizer.decode(codes_1hw)[0, :, :45, :52])
    assert torch.equal(reconstruct(tokenizer, photo_3HW, use, 512), expected)
    assert torch.equal(use.counts_N, codes_1hw.flatten().bincount(minlength=40)) and use.cells == 6 * 7


def test_tiles_that_cannot_be_cut_into_codes_are_refused(tokenizer: VQTokenizer) -> None:
    for tile in (0, 8, 100):
        with pytest.raises(ValueError, match=f"tiles of {tile} px cannot be cut into codes of 8 px"):
            reconstruct(tokenizer, noise(16, 16), CodeUse(40), tile)


def test_use_of_codes() -> None:
    use = CodeUse(16)
    assert (use.cells, use.used, use.perplexity) == (0, 0, 1)
    use.add(torch.full((1, 4, 4), 3))
    assert (use.cells, use.used, use.perplexity) == (16, 1, 1)
    use.add(torch.tensor([[[5] * 16, [0] * 16, [15] * 16]]))
    assert (use.cells, use.used) == (64, 4) and use.perplexity == pytest.approx(4)  # four codes, equally often
    counts = np.random.default_rng(0).integers(0, 50, 16)
    uneven = CodeUse(16)
    uneven.add(torch.from_numpy(np.repeat(np.arange(16), counts)))
    assert uneven.perplexity == pytest.approx(np.exp(entropy(counts)))  # scipy's, of the same counts


def outcomes(tokenizer: VQTokenizer, paths: list[Path], **options: Any) -> list[ReconstructedFile]:
    scorers = [Scorer("psnr"), Scorer("ssim")]
    return list(reconstruct_files(tokenizer, paths, scorers, CodeUse(40), **{"tile": 64, **options}))


def test_the_square_in_the_middle_is_taken(tokenizer: VQTokenizer, tmp_path: Path) -> None:
    photo_3HW = noise(50, 41)
    write_png(tmp_path / "a.png", photo_3HW)
    [one] = outcomes(tokenizer, [tmp_path / "a.png"], size=20, out=tmp_path)
    assert np.array_equal(imread(tmp_path / "original" / "a.png"), photo_3HW.permute(1, 2, 0).numpy()[15:35, 10:30])
    assert imread(tmp_path / "reconstructed" / "a.png").shape == (20, 20, 3) and one.done


def test_what_is_bad_or_small_is_named_and_the_rest_goes_on(tokenizer: VQTokenizer, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for name, side in (("good", 30), ("small", 19), ("flat", 21)):
        write_png(tmp_path / f"{name}.png", noise(side, side) if name != "flat" else torch.zeros(3, side, side))
    paths = [tmp_path / f"{name}.png" for name in ("bad", "small", "good", "flat", "gone")]
    bad, small, good, flat, gone = outcomes(tokenizer, paths, size=20, out=tmp_path / ".")
    assert good.done and flat.done and good.scores.keys() == flat.scores.keys() == {"psnr", "ssim"}
    for one, words in ((bad, "not a picture"), (small, "the shorter side must have 20 px"), (gone, "no such file")):
        assert not one.done and not one.scores and words in one.problems[0] and str(one.source) in one.problems[0]
    assert {path.stem for path in (tmp_path / "reconstructed").iterdir()} == {"good", "flat"}
    # SSIM's window is 11 px wide; PSNR is there all the same.
    write_png(tmp_path / "tiny.png", noise(9, 30))
    [tiny] = outcomes(tokenizer, [tmp_path / "tiny.png"])
    assert tiny.done and tiny.scores.keys() == {"psnr"} and "tiny.png: ssim" in tiny.problems[0]


def test_memory_that_is_not_there(tokenizer: VQTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = VQTokenizer.encode

    def small_memory(self: VQTokenizer, image_B3HW: Tensor) -> Tensor:
        if image_B3HW.shape[-1] > 40:
            raise torch.OutOfMemoryError
        return encode(self, image_B3HW)

    monkeypatch.setattr(VQTokenizer, "encode", small_memory)
    for name, side in (("a", 50), ("b", 40)):
        write_png(tmp_path / f"{name}.png", noise(side, side))
    a, b = outcomes(tokenizer, [tmp_path / "a.png", tmp_path / "b.png"])
    assert not a.done and "a.png" in a.problems[0] and "a smaller --tile needs less" in a.problems[0] and b.done


def test_names(tokenizer: VQTokenizer, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name in ("a.png", "a.bmp", "b.png", "other/b.png"):
        write_png(tmp_path / name, noise(16, 16))
    paths = [tmp_path / name for name in ("a.png", "a.bmp", "b.png")]
    assert [one.name for one in outcomes(tokenizer, paths)] == ["a.png", "a.bmp", "b"]
    with pytest.raises(ValueError, match=r"several photographs are named b\.png"):
        outcomes(tokenizer, [*paths, tmp_path / "other" / "b.png"])


def test_means_leave_out_what_has_no_score() -> None:
    found = Reconstructions(["psnr", "ssim"], CodeUse(4))
    for number in range(9):
        scores = {"psnr": 20.0 + number} | ({"ssim": 0.5} if number == 1 else {})
        found.outcomes.append(ReconstructedFile(Path(f"set/{number}.png"), str(number), scores))
    found.outcomes.append(ReconstructedFile(Path("set/bad.png"), "bad", problems=("set/bad.png: bad",), done=False))
    record = found.record()
    assert record["photos"] == 9 and record["problems"] == ["set/bad.png: bad"] and len(found.rows()) == 9
    psnr, ssim = record["metrics"]["psnr"], record["metrics"]["ssim"]
    assert (psnr["mean"], psnr["n"], ssim) == (24, 9, {"mean": 0.5, "low": None, "high": None, "n": 1})
    assert psnr["low"] < 24 < psnr["high"]
    json.dumps(record, allow_nan=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for seed in range(5):
        smooth = torch.nn.functional.interpolate(from_bytes(noise(9, 8, seed))[None], (90, 77), mode="bicubic")[0]
        write_png(tmp_path / "in" / f"{seed}.png", smooth.clamp(0, 1))
    return tmp_path / "in"


def test_the_command_s_figures_are_those_of_the_pictures_it_writes(
    house: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    files = ["--csv", str(tmp_path / "scores.csv"), "--json", str(tmp_path / "scores.json")]
    assert main(["reconstruct", str(photos), "--run", "demo", "--out", str(tmp_path / "out"), *files]) == 1
    told = capsys.readouterr().out
    assert "bad.png: not a picture" in told and "5 of 6 reconstructed" in told and "codes used" in told
    with (tmp_path / "scores.csv").open() as file:
        scores = {row["image"]: float(row["psnr"]) for row in csv.DictReader(file)}
    assert list(scores) == [str(seed) for seed in range(5)]
    for name, psnr in scores.items():
        pair = [imread(tmp_path / "out" / side / f"{name}.png") for side in ("original", "reconstructed")]
        luma = [rgb2ycbcr(pixels)[..., 0] for pixels in pair]
        assert psnr == pytest.approx(peak_signal_noise_ratio(*luma, data_range=255), abs=1e-3)
        assert np.array_equal(pair[0], imread(photos / f"{name}.png"))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["metrics"]["psnr"]["mean"] == pytest.approx(np.mean(list(scores.values())))
    assert written["codes"]["cells"] == 5 * (96 // 8) * (80 // 8) and written["codes"]["entries"] == 4096
    assert (written["run"], written["tokenizer"]) == ("demo/version_0", "tokenizer/nano/version_0")
    assert written["photos"] == 5 and written["pyiqa"] and "bad.png" in written["problems"][0]


def test_a_pure_run_is_measured_by_its_tokenizer(
    house: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", str(photos), "--run", "demo"]) == 0
    told = capsys.readouterr().out
    assert main(["reconstruct", str(photos), "--run", "tokenizer/nano"]) == 0
    assert capsys.readouterr().out == told and told.count("psnr") == 6
    # A run that only samples has no tokenizer of its own; it asks the run whose weights it has.
    sampling = house / "runs" / "sampling" / "version_0"
    sampling.mkdir(parents=True)
    (sampling / "config.yaml").write_text((house / "runs/demo/version_0/config.yaml").read_text())
    (sampling / "summary.json").write_text("{}")
    (sampling / "provenance.json").write_text(json.dumps({"needs": {"weights": "demo/version_0", "dem": ""}}))
    assert main(["reconstruct", str(photos), "--run", "sampling"]) == 0
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tile", "100"], "--tile 100 is not a multiple, at least twice, of the 8 px of a code; try 96"),
        (["--tile", "8"], "try 16"),
        (["--metrics", "psnrr"], "did you mean psnr"),
        (["--metrics", "psnr,fid"], "lit-pure evaluate --pred DIR/reconstructed"),
        (["--run", "dem/nano"], "which has no tokenizer"),
        (["--run", "nothing"], "there is no finished run"),
        (["--csv", "nowhere/a.csv"], "--csv nowhere/a.csv cannot be written"),
        (["--json", "."], "--json . cannot be written"),
        (["--csv", "HERE/a", "--json", "HERE/a"], "--csv and --json both name HERE/a"),
        (["--metrics", "PSNR"], "did you mean psnr"),
        (["--out", "HERE/file/out"], "--out HERE/file/out: HERE/file is a file"),
        (["HERE/empty"], "HERE/empty: no pictures in it"),
        (["HERE/other/a.png"], "several photographs are named a.png"),
        (["--out", "HERE"], "HERE/original would be both read and written to"),
        (["--out", "HERE/file"], "--out HERE/file is a file"),
        (["nowhere.png"], "no such file or folder: nowhere.png"),
    ],
)
def test_mistakes_are_refused(
    house: Path, flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = str(tmp_path)
    (tmp_path / "original").mkdir()
    write_png(tmp_path / "original" / "a.png", noise(16, 16))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    write_png(tmp_path / "other" / "a.png", noise(16, 16))
    assert main(["reconstruct", f"{here}/original", *(flag.replace("HERE", here) for flag in flags)]) == 2
    assert words.replace("HERE", here) in capsys.readouterr().err
    assert not (tmp_path / "reconstructed").exists()


@pytest.mark.parametrize(
    "words", [["nowhere"], ["empty"], ["one", "two"], ["one", "--metrics", "foo"], ["one", "--csv", "one/a.png"]]
)
def test_mistakes_are_told_before_anything_slow(words: list[str], tmp_path: Path) -> None:
    """Neither torch nor a run is looked at; here is no run at all."""
    for folder in ("one", "two", "empty"):
        (tmp_path / folder).mkdir()
    for folder in ("one", "two"):
        write_png(tmp_path / folder / "a.png", noise(16, 16))
    code = (
        "import sys; from lit_pure.__main__ import main; assert main(['reconstruct', *sys.argv[1:]]) == 2; "
        "assert not {'torch', 'numpy', 'pandas', 'tqdm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "run" not in done.stderr, done.stderr


def test_a_comma_alone_names_no_metric(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["reconstruct", "a.png", "--metrics", ","])
    assert stopped.value.code == 2 and "names nothing" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--size", "0"], ["--tile", "-8"], ["--size", "many"]])
def test_sides_are_whole_numbers(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["reconstruct", "a.png", *flags])
    assert stopped.value.code == 2 and "give a whole number, 1 or more" in capsys.readouterr().err


def test_a_metric_without_weights_is_refused_before_any_work(
    house: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    out = tmp_path / "out"
    assert main(["reconstruct", str(photos), "--run", "demo", "--metrics", "lpips", "--out", str(out)]) == 2
    assert "lit-pure weights metrics --metrics lpips" in capsys.readouterr().err and not out.exists()


def test_a_photograph_as_large_as_those_of_the_paper_s_tests_goes_through_in_one_piece() -> None:
    [photo] = [photo.path for photo in find_photos(PhotosConfig(source=SKIMAGE, names=["astronaut"]), 512).found]
    echo, use = Echo(), CodeUse(40)
    [one] = reconstruct_files(echo, [photo], [Scorer("psnr")], use, tile=512)
    assert one.scores["psnr"] == pytest.approx(80)  # equal pictures: pyiqa adds 1e-8 to the squared error
    assert len(echo.seen) == 1 and use.cells == 64 * 64
