"""`lit-pure caption` from end to end: a tiny LLaVA of the real classes, kills, bad pictures, mistakes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from lit_pure.__main__ import main
from lit_pure.config.compose import PROJECT
from lit_pure.datasets.captions.describe import describe
from lit_pure.datasets.captions.llava import Llava
from lit_pure.datasets.captions.sidecar import read_sidecar
from lit_pure.datasets.captions.source import Sidecar
from lit_pure.files.outputs import identify
from lit_pure.images.io import read_image, to_bytes, write_png
from tests.datasets.captions.test_llava import save_tiny_llava

NAMES = ("a.png", "b.png", "c.png", "d.png", "e.png")
Caption = Callable[..., int]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        generator = torch.Generator().manual_seed(seed)
        write_png(folder / name, torch.rand(3, 20 + 3 * seed, 30, generator=generator))
    return folder


@pytest.fixture
def caption(folder: Path, model: Path) -> Caption:
    """The command with the tiny model; the exit code."""

    def call(*flags: str) -> int:
        llava = ["--source", "llava", "--model", str(model), "--max-tokens", "6", "--batch", "2"]
        return main(["caption", str(folder), *llava, *flags])

    return call


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_caption_describes_a_folder_with_llava(
    caption: Caption, folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caption() == 0
    path = folder / "captions.jsonl"
    found = lines(path)
    assert [line["image"] for line in found] == list(NAMES)
    origin = {"source": str(model), "prompt": "Please describe this image in detail.", "max_tokens": 6}
    assert all({key: line[key] for key in origin} == origin for line in found)
    assert len({line["caption"] for line in found}) > 1
    assert capsys.readouterr().out == f"{path}: 5 of 5 photographs have captions\n"
    source = Sidecar(path)
    assert source.missing(NAMES) == []
    assert [source(folder / line["image"], torch.empty(0), torch.empty(0)) for line in found] == [
        line["caption"] for line in found
    ]


def test_caption_describes_whole_photographs_from_pixels(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "pixels.jsonl"
    assert main(["caption", str(folder), "--source", "pixels", "--out", str(out)]) == 0
    captions = {name: describe(to_bytes(read_image(folder / name))) for name in NAMES}
    assert lines(out) == [
        {"image": name, "caption": words, "source": "pixels", "crc32": identify(folder / name)["crc32"]}
        for name, words in captions.items()
    ]
    Image.new("RGB", (40, 40), "red").save(folder / NAMES[0], "PNG")
    assert main(["caption", str(folder), "--source", "pixels", "--out", str(out)]) == 0
    assert {one["image"]: one["caption"] for one in lines(out)} == captions | {
        NAMES[0]: describe(to_bytes(read_image(folder / NAMES[0])))
    }


def test_caption_writes_what_whole_photographs_show(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_pure.datasets.captions.writing.tags", lambda picture_3HW: "tench")
    out = tmp_path / "tags.jsonl"
    assert main(["caption", str(folder), "--source", "tags", "--out", str(out)]) == 0
    lights = [describe(to_bytes(read_image(folder / name))).partition(". ")[0] for name in NAMES]
    assert lines(out) == [
        {"image": name, "caption": f"tench. {light}.", "source": "tags", "crc32": identify(folder / name)["crc32"]}
        for name, light in zip(NAMES, lights, strict=True)
    ]


def test_caption_describes_photographs_of_sub_folders(folder: Path) -> None:
    (folder / "u").mkdir()
    (folder / ".hidden").mkdir()
    for place in ("u", ".hidden"):
        write_png(folder / place / "a.png", torch.zeros(3, 20, 20))
    assert main(["caption", str(folder), "--source", "pixels"]) == 0
    source = Sidecar(folder / "captions.jsonl")
    assert list(source.captions) == [*NAMES, "u/a.png"]
    assert source.find("u/a.png") != source.find("a.png")
    assert main(["caption", str(folder), "--source", "pixels"]) == 0
    assert len(lines(folder / "captions.jsonl")) == 6


def test_caption_that_is_stopped_resumes_where_it_was(
    caption: Caption, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caption("--out", str(folder / "whole.jsonl")) == 0
    whole = (folder / "whole.jsonl").read_text()
    answer, asked = Llava.__call__, list[int]()

    def counted(self: Llava, pictures: Sequence[Tensor]) -> list[str]:
        asked.append(len(pictures))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return answer(self, pictures)

    monkeypatch.setattr(Llava, "__call__", counted)
    assert caption() == 130
    path = folder / "captions.jsonl"
    assert path.read_text() == "".join(whole.splitlines(keepends=True)[:2])
    with path.open("a") as file:
        file.write('{"image": "c.png", "capt')
    capsys.readouterr()
    assert caption() == 0
    assert path.read_text() == whole
    assert asked == [2, 2, 2, 1]
    assert capsys.readouterr().out == f"{path}: 5 of 5 photographs have captions, 2 of them from an earlier call\n"


def test_caption_loads_no_model_for_a_finished_folder(
    caption: Caption, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caption() == 0
    before = (folder / "captions.jsonl").read_text()
    monkeypatch.setattr(Llava, "__init__", None)
    assert caption() == 0
    assert (folder / "captions.jsonl").read_text() == before


def test_caption_that_is_killed_resumes_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(40):
        write_png(folder / f"{seed:02}.png", torch.rand(3, 500, 500, generator=torch.Generator().manual_seed(seed)))
    path = folder / "captions.jsonl"
    command = ["caption", str(folder), "--source", "pixels", "--batch", "1"]
    process = subprocess.Popen([sys.executable, "-m", "lit_pure", *command], cwd=PROJECT, stdout=subprocess.DEVNULL)
    written = 0
    while process.poll() is None and written < 700:
        time.sleep(0.002)
        with suppress(FileNotFoundError):  # not yet, or only tried and taken away again
            written = path.stat().st_size
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < path.read_bytes().count(b"\n") < 40
    assert main(command) == 0
    assert [line["image"] for line in lines(path)] == [f"{seed:02}.png" for seed in range(40)]
    assert main([*command, "--out", str(folder / "whole.jsonl")]) == 0
    assert path.read_text() == (folder / "whole.jsonl").read_text()


def test_caption_names_bad_photographs_and_describes_the_rest(
    caption: Caption, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:300])
    (folder / "aa.jpg").write_text("no picture")
    write_png(folder / "c.png", torch.zeros(3, 7, 90))
    assert caption() == 1
    path = folder / "captions.jsonl"
    assert [line["image"] for line in lines(path)] == ["a.png", "d.png", "e.png"]
    told = capsys.readouterr().out
    assert "aa.jpg: not a picture" in told and "b.png: " in told and "c.png: 7 x 90 px is too small" in told
    assert told.endswith("3 of 6 photographs have captions\n")
    (folder / "b.png").unlink(), (folder / "aa.jpg").unlink(), (folder / "c.png").unlink()
    assert caption() == 0


def test_an_empty_answer_is_an_error_of_its_photograph(
    caption: Caption, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Llava, "__call__", lambda self, pictures: [" two\n words ", " \n"][: len(pictures)])
    assert caption() == 1
    found = lines(folder / "captions.jsonl")
    assert [(line["image"], line["caption"]) for line in found] == [(name, "two words") for name in NAMES[::2]]
    assert f"{folder / 'b.png'}: the answer is empty" in capsys.readouterr().out


def test_photographs_alike_but_for_their_suffix_keep_their_captions(caption: Caption, folder: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(folder / "a.jpg")
    assert caption() == 0
    entries = read_sidecar(folder / "captions.jsonl")
    source = Sidecar(folder / "captions.jsonl")
    assert entries["a.jpg"].caption != entries["a.png"].caption
    for name in ("a.jpg", "a.png"):
        assert source(folder / name, torch.empty(0), torch.empty(0)) == entries[name].caption


def test_files_of_the_same_pixels_have_the_same_caption(caption: Caption, folder: Path) -> None:
    """Turned by EXIF, with alpha: the model sees what a reader sees."""
    picture = Image.open(folder / "e.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "f.png", exif=exif)
    picture.convert("RGBA").save(folder / "g.png")
    picture.rotate(90, expand=True).save(folder / "h.png")
    assert caption() == 0
    upright, turned, alpha, sideways = [line["caption"] for line in lines(folder / "captions.jsonl")][-4:]
    assert upright == turned == alpha != sideways


def test_another_model_prompt_or_source_does_not_continue_a_file(
    caption: Caption, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caption() == 0
    before = (folder / "captions.jsonl").read_bytes()
    for flags in (["--prompt", "What is it?"], ["--max-tokens", "7"], ["--model", "other/model", "--revision", "v2"]):
        assert caption(*flags) == 1
        assert "choose another file with --out" in capsys.readouterr().err
    assert main(["caption", str(folder), "--source", "pixels"]) == 1
    assert (folder / "captions.jsonl").read_bytes() == before


def test_caption_names_a_malformed_line_of_its_file(
    caption: Caption, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert caption() == 0
    path = folder / "captions.jsonl"
    content = path.read_text().split("\n")
    path.write_text("\n".join([content[0], content[1][:20], *content[2:]]))
    assert caption() == 1
    assert f"error: {path}, line 2: not JSON" in capsys.readouterr().err


def test_unless_told_otherwise_caption_asks_the_author_s_model_his_question(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["caption", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "(default: llava-hf/llava-1.5-13b-hf)" in shown
    assert "(default: Please describe this image in detail.)" in shown


@pytest.mark.parametrize("name", ["llava-hf/llava-1.5-13b-hf", "./no/such/folder"])
def test_caption_without_weights_is_one_line_of_error(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert main(["caption", str(folder), "--source", "llava", "--model", name]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {name} ") and told.count("\n") == 1
    assert f"hf download {name}" in told and "--source pixels" in told
    assert not (folder / "captions.jsonl").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["absent"], "absent: no such folder"),
        (["empty"], "empty: no pictures in it"),
        (["photos", "--batch", "0"], "--batch 0 is below 1"),
        (["photos", "--max-tokens", "0"], "--max-tokens 0 is below 1"),
        (["photos", "--prompt", " "], "--prompt ' ': give only words"),
        (["photos", "--prompt", "<image> What?"], "--prompt '<image> What?': give only words"),
        (["photos", "--model", "empty"], "--model empty: the folder has no config.json"),
        (["photos", "--model", "photos", "--revision", "v2"], "--revision v2: photos is a folder"),
        (["photos", "--source", "pixels", "--dtype", "float32"], "--dtype: not for --source pixels"),
        (["photos", "--source", "tags", "--prompt", "What?"], "--prompt: not for --source tags"),
        (["photos", "--source", "words"], "invalid choice: 'words'"),
    ],
)
def test_mistakes_in_caption_s_flags_are_refused_before_anything_is_loaded(
    flags: list[str], reason: str, folder: Path
) -> None:
    (folder.parent / "empty").mkdir()
    code = (
        "import sys; from lit_pure.__main__ import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as error: code = error.code\n"
        "print(code, {'torch', 'transformers', 'PIL'} & set(sys.modules) or '')"
    )
    command = ["caption", *flags, *([] if "--source" in flags else ["--source", "llava"])]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    call = [sys.executable, "-c", code, *command]
    done = subprocess.run(call, cwd=folder.parent, env=environment, capture_output=True, text=True)
    assert done.stdout == "2 \n" and reason in done.stderr and done.stderr.count("\n") == 1
