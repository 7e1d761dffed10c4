"""What a sweep comes to: which experiments, which of them stand, what must be made first."""

from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, compose
from lit_pure.launch.tasks import Task, find_finished, members, missing_needs
from tests.launch.conftest import finish

NEEDS = {"tokenizer": "tok/version_0", "dem": "est/version_0"}


def test_a_sweep_is_a_file_or_a_folder(place: Path) -> None:
    assert members("grid") == ["grid/seed=3,mu=4.0", "grid/seed=4,mu=4.0"]
    assert members("guide") == members("guide/") == ["guide/full", "guide/none"]
    assert members("steps") == ["steps/step9", "steps/step10"], "numbers by their size"
    (place / "experiments" / "steps" / "more.yaml").write_text("base: base\nsweep: {seed: [5]}\n")
    assert members("steps") == ["steps/more/seed=5", "steps/step9", "steps/step10"]
    for name in [*members("steps"), *members("grid")]:
        assert compose(name).name == name


def test_the_shipped_guidance_sweep_has_all_modes() -> None:
    modes = [compose(name).sequence.guidance_mode for name in members("ablations/guidance")]
    assert sorted(modes) == ["full", "none", "perception", "understanding"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base", "base.yaml: sweep: expected dotted keys with lists"),
        ("guid", "no experiment 'guid' .*did you mean"),
        ("deep", "experiments/deep holds no experiments, only folders; name one: deep/er"),
    ],
)
def test_an_experiment_that_is_no_sweep_is_refused(place: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        members(name)


def test_a_finished_run_is_reused_for_the_same_settings_on_the_same_runs(place: Path) -> None:
    finish("tok"), finish("est")
    assert find_finished(compose("guide/full")) is None
    made = finish("guide/full", needs=NEEDS)
    assert find_finished(compose("guide/full")) == made
    for elsewhere in ("trainer.devices=2", "trainer.num_nodes=2", "data.num_workers=1", "trainer.strategy=ddp"):
        assert find_finished(compose("guide/full", [elsewhere])) == made, elsewhere
    for other in ("seed=5", "trainer.max_steps=7", "data.batch_size=1", "trainer.accumulate=2", "needs.dem="):
        assert find_finished(compose("guide/full", [other, "sequence.guidance_mode=full"])) is None, other
    newer = finish("guide/full", needs=NEEDS)
    assert find_finished(compose("guide/full")) == newer
    (newer.folder / "summary.json").unlink()
    assert find_finished(compose("guide/full")) == made, "what is unfinished does not count"
    (made.folder / "config.yaml").write_text("{")
    assert find_finished(compose("guide/full")) is None, "nor what cannot be read"


def test_a_run_on_a_tokenizer_that_was_trained_anew_is_not_reused(place: Path) -> None:
    finish("tok"), finish("est"), finish("guide/full", needs=NEEDS)
    finish("tok")
    assert find_finished(compose("guide/full")) is None
    newer = finish("guide/full", needs=NEEDS | {"tokenizer": "tok/version_1"})
    assert find_finished(compose("guide/full")) == newer


def test_a_sampling_run_is_reused_for_the_weights_that_it_sampled_from(place: Path) -> None:
    (place / "experiments" / "top.yaml").write_text("base: base\nneeds: {weights: '${base}'}\n")
    finish("base", needs=NEEDS)
    made = finish("top", needs={"weights": "base/version_0", **NEEDS})
    assert find_finished(compose("top")) == made, "whatever tokenizers there are now"
    finish("base", needs=NEEDS)
    assert find_finished(compose("top")) is None


def test_missing_needs_of_a_sweep_are_made_first_and_once(place: Path) -> None:
    tasks = [Task(compose(name)) for name in members("guide")]
    first, waiting = missing_needs(tasks)
    assert [task.name for task in first] == ["tok", "est"]
    assert all(task.needs == ("tok", "est") for task in waiting) and [task.name for task in waiting] == members("guide")
    (place / "experiments" / "est.yaml").write_text("family: dem\nneeds: {tokenizer: tok}\n")
    first, _ = missing_needs(tasks)
    assert [(task.name, task.needs) for task in first] == [("tok", ()), ("est", ("tok",))]
    finish("tok")
    first, waiting = missing_needs(tasks)
    assert [task.name for task in first] == ["est"] and waiting[0].needs == ("est",)
    assert missing_needs([Task(compose("guide/full", ["needs.weights=base"]))])[0] == []


def test_the_command_of_a_task_can_be_typed_in_a_shell(place: Path) -> None:
    task = Task(compose("guide/full", ["data.train.names=[a b]"]), ("data.train.names=[a b]",))
    assert task.shown == "lit-pure run guide/full 'data.train.names=[a b]'"
    assert task.command[-3:] == ["run", "guide/full", "data.train.names=[a b]"]
