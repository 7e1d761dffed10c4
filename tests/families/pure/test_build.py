"""What training starts from: a seed, or another run; and a whole training of adapters through the command line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lit_pure.__main__ import main
from lit_pure.config.compose import compose, locate, save
from lit_pure.config.pure import PureExperiment
from lit_pure.families.pure.build import build_backbone
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.families.pure.start_check import require_start
from lit_pure.families.pure.weights import load_pure, save_pure
from lit_pure.files.atomic import sha256
from lit_pure.lit.distributed.loading import tensors
from lit_pure.models.adapters import trainable_parameters
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from tests.families.pure.adapters_on_two import start, train
from tests.forks import together

START = "needs.start=demo"


def demo(*changes: str) -> PureExperiment:
    experiment = compose("demo", changes)
    assert isinstance(experiment, PureExperiment)
    return experiment


def needs() -> dict[str, Run]:
    return {"tokenizer": runs.require("tokenizer/nano"), "start": runs.require("demo")}


def logits(backbone: NextTokenBackbone) -> torch.Tensor:
    """Logits of some ids."""
    ids_BT = torch.randint(len(backbone.embed.weight), (2, 13), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return backbone.logits(ids_BT)


def test_fresh_weights_are_those_of_the_seed_whatever_was_drawn_before(house: Path) -> None:
    experiment = demo("seed=5")
    torch.manual_seed(5)
    wanted = NextTokenBackbone(experiment.backbone, Vocabulary.from_file(locate(experiment.vocabulary.path)).size)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    backbone, vocabulary = build_backbone(experiment, {})
    assert torch.rand(1) != drawn and vocabulary.size == len(wanted.embed.weight)
    assert all(torch.equal(item, wanted.state_dict()[name]) for name, item in backbone.state_dict().items())
    assert backbone.training and len(trainable_parameters(backbone)) == len(wanted.state_dict())


def test_a_start_gives_the_runs_logits_bit_for_bit_and_stays_what_it_was(house: Path) -> None:
    file = runs.require("demo").weights / "model.safetensors"
    before = sha256(file)
    backbone, vocabulary = build_backbone(demo(START, "backbone.dropout=0.3", "backbone.z_loss=0.01"), needs())
    theirs, their_vocabulary = load_pure(file.parent)
    assert torch.equal(logits(backbone.eval()), logits(theirs)) and vocabulary.size == their_vocabulary.size
    assert len(trainable_parameters(backbone)) == len(theirs.state_dict())
    # What concerns training is the experiment's own.
    assert backbone.config.z_loss == 0.01 and {block.dropout for block in backbone.blocks} == {0.3}
    with torch.no_grad():
        for parameter in trainable_parameters(backbone):
            parameter.add_(1)
    assert sha256(file) == before
    assert torch.equal(logits(load_pure(file.parent)[0]), logits(theirs))


def test_all_is_trained_in_float32_and_beneath_adapters_weights_stay_as_they_were_stored(house: Path) -> None:
    pytest.importorskip("peft")
    stored = Run(house / "runs" / "coarse" / "version_0")
    shutil.copytree(runs.require("demo").folder, stored.folder)
    theirs, vocabulary = load_pure(stored.weights)
    save_pure(stored.weights, theirs.bfloat16(), vocabulary)
    everything, _ = build_backbone(demo(START), needs() | {"start": stored})
    assert {item.dtype for item in everything.parameters()} == {torch.float32}
    assert everything.training and len(trainable_parameters(everything)) == len(theirs.state_dict())
    adapted, _ = build_backbone(demo(START, "adapter.kind=lora"), needs() | {"start": stored})
    kinds = {(item.dtype, item.requires_grad) for item in adapted.parameters()}
    assert kinds == {(torch.bfloat16, False), (torch.float32, True)}
    assert adapted.training and all(module.training for module in adapted.modules())
    assert torch.equal(logits(adapted.eval()), logits(theirs))


def test_a_tokenizer_whose_codes_mean_something_else_is_told(house: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_backbone(demo(START), needs())
    assert not caplog.text
    build_backbone(demo(START), needs() | {"tokenizer": Run(runs.ROOT / "tokenizer" / "nano" / "version_1")})
    assert "set needs.tokenizer=tokenizer/nano/version_0" in caplog.text


def test_a_run_that_only_sampled_stands_for_the_one_it_sampled_from(house: Path) -> None:
    made = house / "runs" / "sampled" / "version_0"
    shutil.copytree(runs.require("demo").folder, made, ignore=shutil.ignore_patterns("weights", "checkpoints"))
    save(demo("needs.weights=demo"), made / "config.yaml")
    provenance = json.loads((made / "provenance.json").read_text())
    provenance["needs"]["weights"] = "demo/version_0"
    (made / "provenance.json").write_text(json.dumps(provenance))
    assert require_start("sampled").label == "demo/version_0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([START, "backbone.width=64"], ["demo/version_0", "backbone.width 64 (there 32)", "backbone.width=32"]),
        (
            [START, "backbone.ffn=64", "backbone.heads=4"],
            ["backbone.heads 4 (there 2)", "backbone.heads=2 backbone.ffn=48"],
        ),
        ([START, "backbone.rope_theta=500"], ["backbone.rope_theta=10000.0"]),
        ([START, "backbone.lq_prior=3"], ["backbone.lq_prior 3.0 (there 0.0)", "backbone.lq_prior=0.0"]),
        ([START, "vocabulary.path=TMP/other.json"], ["another vocabulary", "1 of its", "weights/vocabulary.json"]),
        ([START, "vocabulary.path=TMP/words.txt"], ["words.txt", "cannot be read as a vocabulary"]),
        (["needs.start=tokenizer/nano"], ["family tokenizer", "name a pure one"]),
        (["needs.start=demo/version_7"], ["runs/demo/version_7", "make exp NAME=demo"]),
        (["adapter.kind=lora"], ["adapter.kind = lora", "needs.start"]),
        ([START, "adapter.kind=lora", "adapter.projections=[]"], ["names no matrix"]),
        ([START, "adapter.kind=qlora"], ["backbone.width 32 is no multiple of 64"]),
    ],
)
def test_what_cannot_be_started_from_is_refused_before_anything_is_made(
    house: Path, changes: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parsed = json.loads((runs.require("demo").weights / "vocabulary.json").read_text())
    vocabulary = parsed["model"]["vocab"]
    vocabulary["renamed"] = vocabulary.pop(next(reversed(vocabulary)))
    (tmp_path / "other.json").write_text(json.dumps(parsed))
    (tmp_path / "words.txt").write_text("no JSON")
    before = runs.versions("demo")
    assert main(["run", "demo", *(change.replace("TMP", str(tmp_path)) for change in changes)]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words) and len(said.splitlines()) == 1, said
    assert runs.versions("demo") == before


def test_the_same_vocabulary_in_another_layout_is_the_same(house: Path, tmp_path: Path) -> None:
    theirs = runs.require("demo").weights / "vocabulary.json"
    (tmp_path / "flat.json").write_text(json.dumps(json.loads(theirs.read_text())))
    backbone, _ = build_backbone(demo(START, f"vocabulary.path={tmp_path / 'flat.json'}"), needs())
    assert len(trainable_parameters(backbone)) == len(backbone.state_dict())


def test_missing_packages_are_told_at_once(
    house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_pure.families.pure.family.find_spec", lambda name: None)
    assert main(["run", "demo", START, "adapter.kind=lora"]) == 2
    assert "needs peft; install it: pip install 'lit_pure[adapters]'" in capsys.readouterr().err


def test_a_refusal_imports_no_torch(house: Path) -> None:
    code = "import sys; from lit_pure.__main__ import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "run", "demo", START, "backbone.width=64", "adapter.kind=lora"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=house)
    assert done.stdout.strip() == "False" and "backbone.width=32" in done.stderr


def test_adapters_are_trained_from_a_run_and_restore_like_any_other(house: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    changes = ["adapter.kind=lora", "adapter.rank=4", "adapter.projections=[q,v,down]", "optim.ema=0.5"]
    assert main(["run", "demo", START, *changes, "backbone.code_rows=codebook", "trainer.max_steps=4"]) == 0
    made = runs.require("demo")
    assert made.label == "demo/version_1"
    assert made.provenance()["needs"]["start"] == "demo/version_0"
    before, after = (load_file(runs.require(name).weights / "model.safetensors") for name in ("demo/version_0", "demo"))
    assert before.keys() == after.keys()
    changed = {name for name, item in after.items() if not torch.equal(item, before[name])}
    parts = ("attention.q", "attention.v", "ffn.down")
    assert changed == {f"blocks.{layer}.{part}.weight" for layer in range(2) for part in parts}
    # A checkpoint holds what is trained, averages beside it; the rest comes from the start again.
    (newest,) = (made.folder / "checkpoints").glob("step=00000004")
    kinds = {name.rpartition(".lora_")[1] for name in tensors(newest) if name.startswith(("model.", "ema."))}
    assert kinds == {".lora_"}
    assert main(["export", "demo", str(tmp_path / "exported")]) == 0
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    assert exported.keys() == after.keys() and all(torch.equal(exported[name], item) for name, item in after.items())
    Image.radial_gradient("L").resize((30, 26)).convert("RGB").save(tmp_path / "a.png")
    assert main(["restore", str(tmp_path / "a.png"), "--run", "demo", "--out", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "a.png") as restored:
        assert restored.size == (120, 104)
    # Sampling from it needs none of what it started from.
    assert main(["run", "ablations/sampling/top1", "base=demo"]) == 0
    sampled = runs.require("ablations/sampling/top1").provenance()["needs"]
    assert sampled["weights"] == "demo/version_1" and "start" not in sampled


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes found."""
    for name in ("peft", "bitsandbytes"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("adapters")
    together(Path(__file__).with_name("adapters_on_two.py"), folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "qlora"])
@pytest.mark.parametrize("how", ["fsdp", "ddp"])
def test_two_processes_train_the_adapters_of_one(on_two: Path, kind: str, how: str) -> None:
    expected, found = train(kind, "alone"), torch.load(on_two / f"{kind}_{how}.pt")
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-5)
    assert found["losses"][-1] < found["losses"][0] - 0.3
    plain = start()
    plain.load_state_dict(found["merged"], strict=True)
    ids_BT = torch.randint(40, (4, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(plain.logits(ids_BT), found["logits"], atol=1e-4)
    for name, item in found["merged"].items():
        assert torch.allclose(item, expected["merged"][name], atol=1e-4), name
