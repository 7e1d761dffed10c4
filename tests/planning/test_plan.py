"""The command, its remedies, and how long a sample is."""

import json
import shlex
import subprocess
import sys

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.config.compose import compose, locate
from lit_pure.config.pure import GuidanceMode, PureExperiment
from lit_pure.families.pure.plan import TokenCounter, setting_of
from lit_pure.families.pure.sequence.assemble import Assembler, Sample
from lit_pure.families.pure.sequence.vocabulary import Vocabulary

PAPER = ["plan", "pure/paper"]


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["plan", *words])
    return code, capsys.readouterr().out


def test_the_paper_fits_on_its_own_machines(capsys, tmp_path):
    """32 x 80 GB (section 4.1), with the settings of the file."""
    code, told = plan(capsys, "pure/paper", "--gpus", "32", "--gpu-memory", "80", "--json", str(tmp_path / "plan.json"))
    found = json.loads((tmp_path / "plan.json").read_text())
    assert code == 0
    assert "data.batch_size=4 fits" in told
    assert found["fits"] and found["largest"] >= 4 and not found["remedies"]
    assert found["vocabulary"] == 73_728
    # 7.08 billion parameters with gradients and both moments, 16 bytes each, over 32.
    state = sum(found["moments"]["update"][part] for part in ("parameters", "gradients", "AdamW's moments"))
    assert state == pytest.approx(16 * 7.08e9 / 32, rel=0.01)
    assert found["loss_and_head"] < 1.2e9


def test_the_paper_does_not_fit_on_a_small_card_and_what_would(capsys, tmp_path):
    file = tmp_path / "plan.json"
    code, told = plan(capsys, "pure/paper", "--gpus", "1", "--gpu-memory", "24", "--json", str(file))
    found = json.loads(file.read_text())
    assert code == 1
    assert "data.batch_size=4 does not fit" in told
    assert "also type: trainer.devices=1 trainer.num_nodes=1" in told
    fitting = {remedy["words"]: remedy for remedy in found["remedies"] if remedy["batch"]}
    assert {"QLoRA", "LoRA, smaller tiles", "QLoRA, smaller tiles"} <= fitting.keys()
    assert all(remedy["reached"] <= 24e9 for remedy in fitting.values())
    assert not any(remedy["batch"] for words, remedy in fitting.items() if "LoRA" not in words)


def test_what_is_to_be_typed_does_what_it_says(capsys, tmp_path):
    """Each line, typed behind the experiment, is planned to take what was said, and fits exactly where it was to."""
    where = ["--gpu-memory", "24", "--json", str(tmp_path / "plan.json")]
    _, told = plan(capsys, "pure/paper", "--gpus", "1", *where)
    remedies = json.loads((tmp_path / "plan.json").read_text())["remedies"]
    assert len(remedies) > 5
    for remedy in remedies[::2]:
        assert " ".join(remedy["overrides"]) in told
        code, _ = plan(capsys, "pure/paper", *remedy["overrides"], "--gpus", "1", *where)
        again = json.loads((tmp_path / "plan.json").read_text())
        assert max(again["training"], again["decoding"]) == pytest.approx(remedy["reached"])
        assert (code == 0) is bool(remedy["batch"])


def test_more_gpus_are_a_remedy(capsys):
    code, told = plan(capsys, "pure/paper", "trainer.strategy=auto", "--gpus", "2", "--gpu-memory", "80")
    assert code == 1
    assert "trainer.strategy=fsdp" in told and "4 GPUs" in told


def test_a_step_keeps_its_size(capsys, tmp_path):
    file = tmp_path / "plan.json"
    plan(capsys, "pure/paper", "data.batch_size=6", "--gpus", "1", "--gpu-memory", "24", "--json", str(file))
    for remedy in json.loads(file.read_text())["remedies"]:
        settings = dict(item.split("=") for item in remedy["overrides"])
        assert int(settings.get("data.batch_size", 6)) * int(settings.get("trainer.accumulate", 1)) == 6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("pure/paper", "--gpu-memory"),
        ("pure/paper --gpu-memory 0", "expected GB above 0"),
        ("pure/paper --gpu-memory nan", "expected GB above 0"),
        ("pure/paper --gpus 0 --gpu-memory 80", "give 1 or more"),
        ("pure/nano --gpu-memory 80", "--gpus 8"),
        ("tokenizer/nano --gpus 1 --gpu-memory 80", "family tokenizer"),
        ("pure/nano needs.weights=demo --gpus 1 --gpu-memory 80", "only samples"),
        ("pure/nano needs.tokenizer= --gpus 1 --gpu-memory 80", "needs.tokenizer"),
        ("pure/nano needs.tokenizer=dem/nano --gpus 1 --gpu-memory 80", "family dem"),
        ("pure/papr --gpus 1 --gpu-memory 80", "did you mean pure/paper"),
    ],
)
def test_mistakes(words, told, capsys):
    try:
        code = main(["plan", *shlex.split(words)])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert told in capsys.readouterr().err


def test_it_answers_without_torch():
    code = "import sys; from lit_pure.__main__ import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    words = [*PAPER, "--gpus", "1", "--gpu-memory", "24"]
    assert subprocess.run([sys.executable, "-c", code, *words], capture_output=True).returncode == 0


def nano(mode: GuidanceMode) -> PureExperiment:
    experiment = compose("pure/nano", [f"sequence.guidance_mode={mode}"])
    assert isinstance(experiment, PureExperiment)
    return experiment


@pytest.mark.parametrize("filled", [0, 60])
@pytest.mark.parametrize("mode", ["none", "perception", "understanding", "full"])
def test_the_longest_sample_is_as_long_as_the_assembler_makes_it(mode, filled):
    """With a caption of far more words than fit; cutting between words may leave room for a few tokens."""
    experiment, tokenizer, dem = nano(mode), compose("tokenizer/nano"), compose("dem/bsds500")
    experiment.sequence.text_length = filled
    wanted = setting_of(
        experiment, tokenizer, dem, TokenCounter.read(locate(experiment.vocabulary.path), tokenizer.vq.codes), 1
    )
    vocabulary = Vocabulary.from_file(locate(experiment.vocabulary.path))
    most = experiment.sequence.max_caption
    assembler = Assembler(vocabulary, mode, tokenizer.vq.downsample, most, filled)
    codes_hw = torch.zeros(16, 16, dtype=torch.long)
    ids, labels = assembler.assemble(Sample(codes_hw, codes_hw, "medium", "medium", "a " * 3 * most))
    assert wanted.vocabulary == vocabulary.size
    assert wanted.prompt == len(assembler.prompt(codes_hw))
    assert len(ids) - 1 <= wanted.length <= len(ids) + 8
    unlearned = int((labels < 0).sum()) - 1
    assert unlearned - (8 if filled else 0) <= wanted.length - wanted.labels <= unlearned


def test_the_published_length():
    """8,430 positions at 512 px; what is said there is shorter than the longest caption, and the rest is pictures."""
    paper, tokenizer, dem = compose("pure/paper"), compose("tokenizer/paper"), compose("dem/paper")
    words = TokenCounter.read(locate(paper.vocabulary.path), tokenizer.vq.codes)
    wanted = setting_of(paper, tokenizer, dem, words, 1)
    pictures = 2 * (3 + 64 * 65 + 1) + 3
    assert pictures < 8430 < wanted.length < pictures + 256 + 100
