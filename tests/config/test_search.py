"""What `search:` may say, names of trials, and every mistake that is refused before anything runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.__main__ import main
from lit_pure.config.compose import ConfigError, changes, compose, grid, is_search, is_sweep, search_of
from lit_pure.config.search import Axis, SearchConfig
from lit_pure.launch.tasks import members
from lit_pure.search import storage


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "experiments" / "more").mkdir(parents=True)
    (tmp_path / "experiments" / "root.yaml").write_text("family: dem\ndata: {train: {source: photos}}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(search: str, name: str = "one") -> None:
    Path(f"experiments/{name}.yaml").write_text(f"base: root\n{search}\n")


def test_a_trial_is_an_experiment_whose_name_has_its_values(here: Path) -> None:
    write(
        "search:\n  trials: 7\n  space:\n    optim.lr: {log: [1e-5, 1e-2]}\n    dem.calibration: {int: [8, 64]}\n"
        "    dem.labels: {choice: [thirds, terciles]}\n    dem.features: {choice: [[4, 4, 4, 4], [8, 8, 8, 8]]}"
    )
    assert is_search("one") and not is_sweep("one") and not is_search("root")
    asked = search_of("one")
    assert (asked.trials, asked.metric, asked.direction, asked.seed, asked.prunes) == (
        7,
        "val/loss",
        "minimize",
        0,
        True,
    )
    values = {"optim.lr": 3.16227766e-4, "dem.calibration": 20, "dem.labels": "thirds", "dem.features": "[8, 8, 8, 8]"}
    label = asked.label(values)
    assert label == "lr=0.0003162,calibration=20,labels=thirds,features=[8, 8, 8, 8]"
    made = compose(f"one/{label}", ["seed=4"])
    assert made.name == f"one/{label}" and made.seed == 4
    assert changes(compose("one"), made) == {
        "optim.lr": (4e-4, 0.0003162), "dem.calibration": (2048, 20), "seed": (0, 4),
        "dem.features": ([64, 64, 64, 128], [8, 8, 8, 8]), "dem.labels": ("terciles", "thirds"),
    }  # fmt: skip
    Path("experiments/child.yaml").write_text("base: one\n")
    assert not is_search("child") and compose("child").name == "child", "as of sweep:, bases pass nothing on"


@pytest.mark.parametrize(
    ("axis", "value", "shown"),
    [
        (Axis("a", "a", "log", 1e-5, 1e-2), 1.234567e-4, "0.0001235"),
        (Axis("a", "a", "float", 0.0, 1.0), 0.123456, "0.1235"),
        (Axis("a", "a", "float", 0.12344, 1.0), 0.12344, "0.12344"),
        (Axis("a", "a", "float", 0.0, 0.99996), 0.99996, "0.99996"),
        (Axis("a", "a", "float", 1000.0, 1000.1), 1000.054321, "1000.0543"),
        (Axis("a", "a", "float", -1.0, 1.0), -0.55555, "-0.5555"),
        (Axis("a", "a", "log", 1.0, 1e9), 123456789.0, "1.235e+08"),
        (Axis("a", "a", "int", 1, 10, whole=True), 7, "7"),
    ],
)
def test_a_value_is_rounded_within_its_range_and_read_back(axis: Axis, value: float, shown: str) -> None:
    search = SearchConfig((axis, Axis("b", "b", "choice", choices={"x,y=1": "x", "x": "'x'"})))
    label = search.label({"a": value, "b": "x,y=1"})
    assert label == f"a={shown},b=x,y=1" and search.settings(label) == [f"a={shown}", "b=x"]
    assert search.settings(f"a={shown},b=x")[1] == "b='x'"


SPACE = "space: {optim.lr: {log: [1e-5, 1e-2]}}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("search: 3", "expected trials and a space of dotted keys"),
        ("search: {trials: 3}", "expected trials and a space"),
        ("search: {space: {optim.lrr: {log: [1e-5, 1e-2]}}}", "no key optim.lrr .* did you mean optim.lr"),
        ("search: {space: {vq.codes: {int: [2, 9]}}}", "no key vq .* in family dem"),
        ("search: {space: {optim.lr: {log: [1e-5, 2]}}}", "optim.lr = 2.0 is above 1; use 1 or less"),
        ("search: {space: {optim.weight_decay: {float: [-0.1, 1]}}}", "weight_decay = -0.1 is below 0"),
        ("search: {space: {dem.calibration: {int: [1, 9]}}}", "dem.calibration = 1 is below 8"),
        ("search: {space: {dem.calibration: {float: [8, 9]}}}", "takes whole numbers: {int: "),
        ("search: {space: {dem.calibration: {int: [8, 9.5]}}}", "9.5: is no Integer"),
        ("search: {space: {dem.labels: {choice: [thirds, halves]}}}", "dem.labels = 'halves'"),
        ("search: {space: {dem.labels: {int: [1, 2]}}}", "is no number; name its values"),
        ("search: {space: {dem.labels: {choice: [thirds, thirds]}}}", "named twice"),
        ("search: {space: {optim.lr: {log: [0, 1]}}}", "log takes .LOW, HIGH., the lower one first, and above 0"),
        ("search: {space: {optim.lr: {float: [0.2, 0.1]}}}", "the lower one first"),
        ("search: {space: {optim.lr: {float: [0.1, .nan]}}}", "the lower one first"),
        ("search: {space: {optim.lr: {float: ['${seed}', 1]}}}", "takes numbers, and no"),
        ("search: {space: {optim.lr: {log: [1e-5]}}}", "log takes .LOW, HIGH."),
        ("search: {space: {optim.lr: {choice: []}}}", "choice takes a list"),
        ("search: {space: {optim.lr: {normal: [0, 1]}}}", "expected one of {log: "),
        ("search: {space: {optim.lr: [1e-5, 1e-2]}}", "expected one of {log: "),
        (f"search: {{trails: 3, {SPACE}}}", "no key trails; legal here: space, trials"),
        (f"search: {{trials: 0, {SPACE}}}", "trials = 0 is below 1"),
        (f"search: {{trials: many, {SPACE}}}", "trials = many: is no Integer"),
        (f"search: {{direction: up, {SPACE}}}", "take minimize or maximize"),
        (f"search: {{prune: true, metric: test/demo/psnr, {SPACE}}}", "prune needs a metric of validations"),
        (f"search: {{{SPACE}}}\nsweep: {{seed: [1, 2]}}", "both sweep: and search:"),
    ],
)
def test_a_mistake_is_refused_before_anything_runs(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    write(text)
    assert main(["sweep", "one"]) == 2
    said = capsys.readouterr()
    with pytest.raises(ConfigError, match=words):
        raise ConfigError(said.err)
    assert "one.yaml" in said.err and not said.out and not Path("runs").exists()


def test_mistakes_on_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f"search: {{{SPACE}}}")
    write(f"needs: {{weights: demo/shipped}}\nsearch: {{{SPACE}}}", "sampled")
    write(f"search: {{{SPACE}}}", "more/inside")
    for command, words in {
        "sweep one optim.lr=1e-3": "optim.lr=1e-3 is what one.yaml searches",
        "sweep one --again": "--again is for a sweep:; to search anew, move runs/one away",
        "sweep one trainer.max_step=3": "did you mean trainer.max_steps",
        "sweep one trainer.fast_dev_run=1": "trainer.fast_dev_run is for debugging, and such a run is no trial",
        "sweep one trainer.loggers=[tensorboard]": "val/loss is read from curves; add csv to trainer.loggers",
        "sweep sampled needs.weights=dem/bsds500/shipped": "its trials train nothing, so nothing is validated",
        "sweep one --parallel 2": "--parallel is for --launcher slurm",
        "sweep more": "more/inside has a search:, which is no variant; start it alone",
        "run one/lr=1": "no trial of this search: lr=1 is not in 1e-05 to 0.01 (log)",
        "run one/rate=1": "write lr=...; it chooses lr: 1e-05 to 0.01 (log)",
        "run one/lr=1e-3 optim.lr=2e-3": "optim.lr=2e-3 is what one.yaml varies; change its search: instead",
    }.items():
        assert main(command.split()) == 2, command
        assert words in capsys.readouterr().err, command
    with pytest.raises(ConfigError, match="sweep: expected dotted keys with lists"):
        grid("one")
    with pytest.raises(ConfigError):
        members("more")
    monkeypatch.setattr(storage, "find_spec", lambda name: None)
    assert main(["sweep", "one"]) == 2
    assert "search: needs Optuna; install it: pip install 'lit_pure[search]'" in capsys.readouterr().err


def test_neither_torch_nor_optuna_is_imported_to_refuse(here: Path) -> None:
    write("search: {space: {optim.lr: {log: [1e-5, 2]}}}")
    code = (
        "import sys; from lit_pure.__main__ import main; status = main(['sweep', 'one'])\n"
        "print(status, sorted({'torch', 'optuna', 'sqlalchemy', 'pandas', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "2 []\n", done.stderr
