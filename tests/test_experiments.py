"""Every experiment file composes, says what it asks, and the ablations change as little as they claim."""

import pytest
import yaml

from lit_pure.config.compose import PROJECT, compose, experiment_names
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.runs.folder import experiment_of


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_file_composes_and_begins_with_its_schema_and_words(name: str) -> None:
    experiment = compose(name)
    assert experiment.name == name
    path = PROJECT / "experiments" / f"{name}.yaml"
    first, second, *_ = path.read_text().splitlines()
    key, equals, schema = first.partition("=")
    assert (key, equals) == ("# yaml-language-server: $schema", "=")
    assert (path.parent / schema).resolve() == PROJECT / "experiments" / "schema.json"
    assert second.startswith("# ")
    needs = experiment.needs
    for need in filter(None, (*needs.made_first().values(), needs.weights)):
        assert experiment_of(need) in experiment_names()


@pytest.mark.parametrize("name", [name for name in experiment_names() if name.startswith("ablations/")])
def test_an_ablation_asks_a_question_and_changes_one_to_three_lines(name: str) -> None:
    _, text = (PROJECT / "experiments" / f"{name}.yaml").read_text().split("\n", maxsplit=1)
    assert text.startswith("# Question: ")
    changes = yaml.safe_load(text)
    base = changes.pop("base")
    assert base in (("nsarm/nano", "nsarm/nano/pretrain") if name.startswith("ablations/nsarm/") else ("pure/nano",))
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "base:"))]
    assert 1 <= len(lines) <= 3
    assert isinstance(compose(name), type(compose(base)))
    assert base != "pure/nano" or isinstance(compose(name, ["base=demo"]), PureExperiment)


def test_the_paper_s_experiments_have_the_paper_s_numbers() -> None:
    paper = compose("pure/paper")
    assert isinstance(paper, PureExperiment)
    assert (paper.optim.lr, paper.optim.betas, paper.optim.weight_decay) == (4e-4, (0.9, 0.95), 0.1)
    trainer = paper.trainer
    assert paper.data.batch_size * int(trainer.devices) * trainer.num_nodes == 128
    assert trainer.max_steps == 2 * (94991 // 128), "two epochs of LSDIR and 10,000 faces"
    assert paper.optim.warmup == 0.5 / 2 and trainer.gradient_clip == 4.0
    sampling = paper.sampling
    assert (sampling.k_min, sampling.k_max, sampling.mu) == (1, 2000, 5.0)
    assert (sampling.guidance, sampling.temperature) == (0.8, 0.9)
    tokenizer = compose("tokenizer/paper")
    assert isinstance(tokenizer, TokenizerExperiment)
    assert (tokenizer.vq.downsample, tokenizer.vq.codes, tokenizer.vq.code_dim) == (8, 16384, 8)


def test_sampling_ablations_follow_a_swapped_base() -> None:
    assert compose("ablations/sampling/top1").needs.weights == "pure/nano"
    assert compose("ablations/sampling/top1", ["base=demo"]).needs.weights == "demo"
