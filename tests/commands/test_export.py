"""A checkpoint becomes weights like those of any run, on one process."""

import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lit_pure.__main__ import main
from lit_pure.config.compose import compose, differences, locate, save
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import VQConfig
from lit_pure.families.pure.build import build_backbone
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.families.pure.weights import load_pure, save_pure
from lit_pure.lit.distributed.saving import Contents, write
from lit_pure.models import weights
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

SMALL = ["backbone.width=32", "backbone.layers=1", "backbone.heads=2", "backbone.ffn=48"]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unfinished run runs/demo/version_1, with two checkpoints, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/demo/version_1")
    folder.mkdir(parents=True)
    save(demo(), folder / "config.yaml")
    checkpoint(folder, 10, backbone(1))
    checkpoint(folder, 20, backbone(2))
    return folder


def demo() -> PureExperiment:
    experiment = compose("demo", SMALL)
    assert isinstance(experiment, PureExperiment)
    return experiment


def backbone(seed: int) -> NextTokenBackbone:
    torch.manual_seed(seed)
    return NextTokenBackbone(demo().backbone, Vocabulary.from_file(locate(demo().vocabulary.path)).size)


def checkpoint(folder: Path, step: int, model: NextTokenBackbone, average: NextTokenBackbone | None = None) -> Path:
    state = {f"model.backbone.{name}": item for name, item in model.state_dict().items()}
    state["optimizer.0.backbone.embed.weight.exp_avg"] = torch.zeros(3)
    if average is not None:
        state |= {f"ema.backbone.{name}": item.detach() for name, item in average.named_parameters()}
    place = checkpoints.path(folder / checkpoints.FOLDER, step)
    assert write(place, Contents(state, {}, {"step": step}), lambda: None, None) == ""
    return place


def same(state: dict[str, torch.Tensor], model: NextTokenBackbone) -> bool:
    own = model.state_dict()
    return state.keys() == own.keys() and all(torch.equal(state[name], own[name]) for name in own)


@pytest.mark.parametrize("name", ["demo", "demo/version_1", "runs/demo/version_1/"])
def test_export_takes_the_newest_complete_checkpoint_of_a_run(
    trained: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_short = checkpoint(trained, 30, backbone(3)) / "__0_0.distcp"
    cut_short.write_bytes(cut_short.read_bytes()[:-1])
    assert main(["export", name, "out"]) == 0
    assert capsys.readouterr().out == "out: the weights of demo/version_1 after step 20\n"
    loaded, vocabulary = load_pure(Path("out"))
    assert same(loaded.state_dict(), backbone(2)) and vocabulary.size == len(loaded.embed.weight)
    assert weights.verify(Path("out")), "with digests, as a finished run's"


def test_export_takes_one_checkpoint_by_its_folder(trained: Path, tmp_path: Path) -> None:
    for number, place in enumerate(("runs/demo/version_1/checkpoints/step=00000010/", tmp_path / trained)):
        if number:
            place = f"{place}/checkpoints/step=00000010"
        assert main(["export", str(place), f"out{number}"]) == 0
        assert same(load_file(f"out{number}/model.safetensors"), backbone(1))


def test_export_passes_over_a_newer_run_without_checkpoints(trained: Path) -> None:
    shutil.copytree(trained, "runs/demo/version_2")
    shutil.rmtree("runs/demo/version_2/checkpoints")
    assert main(["export", "demo", "out"]) == 0


def test_export_takes_averaged_weights_where_there_are_some(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(trained, 40, backbone(4), backbone(5))
    assert main(["export", "demo", "out"]) == 0
    assert "the averaged weights of demo/version_1 after step 40" in capsys.readouterr().out
    assert same(load_file("out/model.safetensors"), backbone(5))


def test_exported_weights_are_one_file_however_large(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGEST_FILE", 10_000)
    assert main(["export", "demo", "out"]) == 0
    assert [path.name for path in Path("out").glob("*.safetensors*")] == ["model.safetensors"]


def test_exported_weights_keep_their_dtype(trained: Path) -> None:
    checkpoint(trained, 40, backbone(4).bfloat16())
    assert main(["export", "demo", "out"]) == 0
    assert {item.dtype for item in load_file("out/model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize(("change", "name"), [("backbone.width=64", "blocks.0."), ("backbone.layers=2", "blocks.1.")])
def test_export_refuses_a_checkpoint_of_other_settings(
    trained: Path, capsys: pytest.CaptureFixture[str], change: str, name: str
) -> None:
    save(compose("demo", [*SMALL, change]), trained / "config.yaml")
    assert main(["export", "demo", "out"]) == 1
    assert f"does not go with runs/demo/version_1/config.yaml ({name}" in capsys.readouterr().err
    assert not Path("out").exists()


def test_exported_weights_are_those_that_a_finished_run_keeps(house: Path) -> None:
    run = Run(Path("runs/demo/version_0"))
    assert main(["export", "demo", str(house / "exported")]) == 0
    kept, found = (load_file(folder / "model.safetensors") for folder in (run.weights, house / "exported"))
    shutil.rmtree(house / "exported")
    assert kept.keys() == found.keys() and all(torch.equal(kept[name], found[name]) for name in kept)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pure/absent", "out"], "there is no run runs/pure/absent"),
        (["demo/version_7", "out"], "there is no run runs/demo/version_7"),
        (["demo/version_2", "out"], "runs/demo/version_2 has no complete checkpoint"),
        (["demo", "runs"], "runs exists already"),
        (["demo", "runs/demo/version_1/config.yaml/out"], "is a file"),
        (["runs/demo/version_1/checkpoints/step=00000030", "out"], "is not complete; .* step=00000010, step=00000020"),
        (["runs/demo/version_1/checkpoints/step=00000040", "out"], "is missing"),
        (["dem/nano", "out"], "family dem: only checkpoints of pure runs"),
        (["adapted", "out"], "no finished run runs/pure/start"),
    ],
)
def test_export_refuses_missing_runs_before_torch_is_imported(trained: Path, words: list[str], said: str) -> None:
    (trained / "checkpoints/step=00000030").mkdir()
    (trained.parent / "version_2").mkdir()
    adapted = demo()
    adapted.adapter.kind, adapted.needs.start = "lora", "pure/start"
    for name, experiment in {"dem/nano": compose("dem/nano"), "adapted": adapted}.items():
        folder = Path("runs") / name / "version_0"
        folder.mkdir(parents=True)
        save(experiment, folder / "config.yaml")
        (folder / "provenance.json").write_text('{"needs": {"start": "pure/start"}}')
        shutil.copytree(trained / "checkpoints", folder / "checkpoints")
    code = "import sys; sys.modules['torch'] = None; from lit_pure.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, "export", *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1

    assert re.search(said, done.stderr), done.stderr


def test_export_merges_adapters_into_their_backbone(trained: Path) -> None:
    pytest.importorskip("peft")
    start = Run(Path("runs/pure/start/version_0"))
    save_pure(start.weights, backbone(7), Vocabulary.from_file(locate(demo().vocabulary.path)))
    save(demo(), start.folder / "config.yaml")
    for name in ("summary.json", "provenance.json"):
        (start.folder / name).write_text('{"needs": {}}')
    adapted = demo()
    adapted.adapter.kind, adapted.needs.start = "lora", "pure/start"
    save(adapted, trained / "config.yaml")
    (trained / "provenance.json").write_text('{"needs": {"start": "pure/start/version_0"}}')
    model, _ = build_backbone(adapted, {"start": start})
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=torch.Generator().manual_seed(8))
    checkpoint(trained, 40, model)
    assert main(["export", "demo", "out"]) == 0
    found, ids_BT = load_pure(Path("out"))[0], torch.arange(6)[None]
    assert not same(found.state_dict(), backbone(7))
    torch.testing.assert_close(found.logits(ids_BT), model.eval().logits(ids_BT))


def test_export_writes_a_run_with_rounded_weights_and_the_settings_asked_for(house: Path, tmp_path: Path) -> None:
    out = tmp_path / "shipped"
    changes = ["--set", "sampling.guidance=1.5", "restoring.overlap=0.25"]
    assert main(["export", "demo", str(out), "--run", "float16", *changes]) == 0
    made, source = runs.Run(out), runs.require("demo")
    assert made.finished and made.summary() == source.summary() and made.provenance() == source.provenance()
    assert weights.verify(made.weights)
    backbone, _ = load_pure(made.weights)
    original, _ = load_pure(source.weights)
    for (name, rounded), exact in zip(backbone.state_dict().items(), original.state_dict().values(), strict=True):
        assert rounded.dtype == torch.float16 and torch.equal(rounded, exact.half()), name
    changed = {line.partition(":")[0] for line in differences(source.experiment(), made.experiment())}
    assert changed == {"sampling.guidance", "restoring.overlap", "restoring.color_fix"}
    assert main(["export", "demo", str(tmp_path / "other"), "--run", "float16", "--set", "seed=3"]) == 2


def test_export_takes_the_mean_with_another_run(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, other = runs.require("tokenizer/nano"), Run(Path("runs/tokenizer/other/version_0"))
    shutil.copytree(source.folder, other.folder)
    moved = weights.load_tokenizer(source.weights).state_dict()
    tokenizer = weights.load_tokenizer(source.weights)
    tokenizer.load_state_dict({name: item + 1 if item.is_floating_point() else item for name, item in moved.items()})
    weights.save_tokenizer(other.weights, tokenizer)
    command = ["export", "tokenizer/nano", str(tmp_path / "mean"), "--run", "float32", "--blend"]
    assert main([*command, f"{other.label}=0.25"]) == 0
    mean = Run(tmp_path / "mean")
    for name, item in weights.load_tokenizer(mean.weights).state_dict().items():
        torch.testing.assert_close(item, moved[name] + 0.25 * item.is_floating_point())
    assert mean.provenance()["blended"]["share"] == 0.25
    assert not any(key.startswith("test/") for key in mean.summary()), "what was measured was not the mean"
    for wrong in ("demo=0.5", "tokenizer/nano=1.5", "tokenizer/nano"):
        with suppress(SystemExit):
            assert main(["export", "tokenizer/nano", str(tmp_path / "no"), "--run", "float32", "--blend", wrong]) == 1
        assert not (tmp_path / "no" / "weights").exists()
    assert "has another size" in capsys.readouterr().err


def test_export_refuses_settings_without_the_run_flag(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "demo", str(tmp_path / "x"), "--set", "sampling.k=1"]) == 2
    assert "goes with --run" in capsys.readouterr().err


def test_export_refuses_weights_too_large_for_the_dtype(tmp_path: Path) -> None:
    model = VQTokenizer(VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=40))
    with torch.no_grad():
        model.codebook_ND[0, 0] = 1e6
    weights.save_tokenizer(tmp_path / "a", model)
    with pytest.raises(ValueError, match="codebook_ND has numbers too large for torch.float16"):
        weights.save_rounded(tmp_path / "a", tmp_path / "b", torch.float16)
    assert not (tmp_path / "b").exists()
