"""The schema of experiment files: it is the one that is committed, and finds the mistakes that `compose` refuses."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from omegaconf import OmegaConf

from lit_pure.config.compose import PROJECT, ConfigError, compose, override, save
from lit_pure.config.experiment import Experiment
from lit_pure.config.families import FAMILIES
from lit_pure.config.knobs import knob
from lit_pure.config.schema import schema, schema_text

SCHEMA = PROJECT / "experiments" / "schema.json"
EXPERIMENTS = sorted((PROJECT / "experiments").rglob("*.yaml"))
RUNS = sorted((PROJECT / "data" / "runs").rglob("config.yaml"))


def mistakes(text: str, among: dict[str, Any] | None = None) -> dict[str, str]:
    """Dotted place -> what a reader of the schema finds wrong there; the text is read as `compose` reads it."""
    validator = Draft202012Validator(among or json.loads(SCHEMA.read_text()))
    found: dict[str, str] = {}
    for error in _innermost(validator.iter_errors(OmegaConf.to_container(OmegaConf.create(text), resolve=False))):
        place = ".".join(map(str, error.absolute_path))
        found[place] = f"{found.get(place, '')}\n{error.message}"
    return found


def _innermost(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """As editors do: of a section that several families have, the mistake in the family that comes nearest to it."""
    for error in errors:
        yield error
        if error.validator == "anyOf" and error.absolute_path and isinstance(error.instance, dict):
            branches = [list(group) for _, group in groupby(error.context, key=lambda one: one.schema_path[0])]
            yield from _innermost(min(branches, key=len))


def test_the_committed_schema_is_the_one_that_the_knobs_give() -> None:
    remedy = "make it again: lit-pure config --schema --out experiments/schema.json"
    assert SCHEMA.read_text() == schema_text(), remedy
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("path", [*EXPERIMENTS, *RUNS], ids=lambda path: str(path.relative_to(PROJECT)))
def test_the_schema_finds_no_mistake_in_what_is_shipped(path: Path) -> None:
    assert mistakes(path.read_text()) == {}


@pytest.mark.parametrize(
    "name", ["pure/official", "tokenizer/official", "dem/nano", "sweeps/sampling/k_max=10,guidance=0.8"]
)
def test_the_schema_finds_no_mistake_in_the_config_of_a_run(name: str, tmp_path: Path) -> None:
    save(compose(name), tmp_path / "config.yaml")
    assert mistakes((tmp_path / "config.yaml").read_text()) == {}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("base: demo\nsampling: {guidnce: 1}", "sampling", "'guidnce' was unexpected"),
        ("base: demo\nsamplin: {guidance: 1}", "", "'samplin' was unexpected"),
        ("base: demo\ndata: {test: {demo: {crop: 1}}}", "data.test.demo", "is not valid under any"),
        ("base: demo\ndata: {test: {a b: {crops: 1}}}", "data.test", "'a b' does not match"),
        ("base: demo\ndata: 3", "data", "not of type 'object'"),
        ("base: demo\nneeds:", "needs", "None is not of type 'object'"),
        ("base: demo\nsampling.k: 3", "", "'sampling.k' was unexpected"),
        ("base: demo\ntrainer: {max_steps: many}", "trainer.max_steps", "'many' does not match"),
        ("base: demo\ntrainer: {max_steps: 2.5}", "trainer.max_steps", "2.5 is not of type 'integer'"),
        ("base: demo\ntrainer: {max_steps: true}", "trainer.max_steps", "True is not of type 'integer'"),
        ("base: demo\ntrainer: {compile: 1}", "trainer.compile", "1 is not of type 'boolean'"),
        ("base: demo\ntrainer: {max_steps: 0}", "trainer.max_steps", "0 is less than the minimum of 1"),
        ("base: demo\noptim: {lr: 0}", "optim.lr", "0 is less than or equal to the minimum of 0"),
        ("base: demo\noptim: {lr: 2.0}", "optim.lr", "2.0 is greater than the maximum of 1"),
        ("base: demo\noptim: {betas: [0.9]}", "optim.betas", "[0.9] is too short"),
        ("base: demo\noptim: {betas: [0.9, 1]}", "optim.betas.1", "1 is greater than the maximum of 0.99999"),
        ("base: demo\noptim: {betas: 0.9}", "optim.betas", "0.9 is not of type 'array'"),
        ("base: demo\nsampling: {top_k: maybe}", "sampling.top_k", "'maybe' is not valid under any"),
        ("base: demo\nevaluation: {metrics: [psnr, lpipz]}", "evaluation.metrics.1", "'lpipz' is not valid under any"),
        ("base: demo\ndata: {train: {names: rocket}}", "data.train.names", "'rocket' does not match"),
        ("family: other", "family", "'other' is not one of ['pure', 'tokenizer', 'dem', "),
        ("family: dem\nvq: {codes: 512}", "", "'vq' is not one of"),
        ("family: tokenizer\nsampling: {k: 1}", "", "'sampling' is not one of"),
        ("vq: {codes: 512}", "", "'vq' is not one of"),
        ("base: tokenizer/nano\nvq: {codes: 512}\ndem: {calibration: 8}", "", "is not valid under any"),
        ("base: demo\nsweep: {sampling.kmax: [1]}", "sweep", "'sampling.kmax' does not match any"),
        ("base: demo\nsweep: {sampling.k_max: 1}", "sweep.sampling.k_max", "1 is not of type 'array'"),
        ("base: demo\nsweep: {sampling.k_max: []}", "sweep.sampling.k_max", "[] should be non-empty"),
        ("base: demo\nsweep: {sampling.k_max: [0]}", "sweep.sampling.k_max.0", "0 is less than the minimum of 1"),
        ("base: demo\nsweep: {data.test.demo.crop: [1]}", "sweep", "'data.test.demo.crop' does not match"),
        ("base: demo\nsweep: {}", "sweep", "{} should be non-empty"),
        ("base: demo\nsearch: {trials: 3}", "search", "'space' is a required property"),
        ("base: demo\nsearch: {trials: 0, space: {seed: {int: [0, 9]}}}", "search.trials", "less than the minimum"),
        ("base: demo\nsearch: {space: {optim.lrr: {log: [1, 2]}}}", "search.space", "'optim.lrr' does not match any"),
        ("base: demo\nsearch: {space: {optim.lr: {log: [1]}}}", "search.space.optim.lr.log", "is too short"),
        ("base: demo\nsearch: {space: {optim.lr: {lin: [1, 2]}}}", "search.space.optim.lr", "'lin' was unexpected"),
        ("family: dem\nsearch: {space: {vq.codes: {int: [2, 9]}}}", "search.space", "'vq.codes' does not match"),
        ("family: dem\nsweep: {vq.codes: [512]}", "sweep", "'vq.codes' does not match"),
    ],
)
def test_the_schema_finds_a_mistake_where_it_is(text: str, place: str, words: str) -> None:
    found = mistakes(text)
    assert place in found and words in found[place], found


@pytest.mark.parametrize(
    "text",
    [
        "base: mine/own\nvq: {codes: 512}",
        "base: pure/nano\ndata: {test: {bsds500: null, mine: {source: photos, crops: 2}}}",
        "base: demo\nneeds: {weights: '${base}'}\ndata: {batch_size: '${seed}', size: '${oc.env:SIZE}'}",
        "base: demo\nsampling: {top_k: '${x}'}\noptim: {betas: ['${optim.warmup}', 0.9]}\ntrainer: {compile: '${x}'}",
        "base: demo\noptim: {lr: 1e-3, betas: [0, 0.5]}\ntrainer: {devices: 8, timeout: 60}",
        "base: demo\ndata: {train: {names: [1, two]}}",
        "base: demo\nsweep: {base: [demo, pure/nano], seed: [0, 1], data.degradation.jpeg_range: [[30, 95], [60, 95]]}",
        "base: demo\nsearch: {trials: 9, metric: val/loss, prune: false, space: {optim.lr: {log: [1e-5, 1e-2]}, "
        "sampling.k_max: {int: [10, 500]}, data.test.demo.crops: {choice: [1, 2]}}}",
        "base: demo\nsweep: {data.test.demo.crops: [1, 2], sampling.top_k: [fixed, dynamic], trainer.compile: [true]}",
    ],
)
def test_the_schema_takes_what_compose_takes(text: str) -> None:
    assert mistakes(text) == {}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bound", ["low", "high", "above"])
def test_the_schema_knows_each_bound_that_compose_knows(family: str, bound: str) -> None:
    """All knobs of a family just outside one of their bounds: `compose` and the schema name the same ones."""
    start = FAMILIES[family]()
    wrong = dict(_outside(start, bound, ""))
    with pytest.raises(ConfigError) as refused:
        override(start, [f"{key}={value}" for key, value in wrong.items()])
    assert wrong and {line.split()[2] for line in str(refused.value).splitlines()} >= wrong.keys()
    text = OmegaConf.to_yaml(OmegaConf.from_dotlist([f"{key}={value}" for key, value in wrong.items()]))
    found = mistakes(f"family: {family}\n{text}")
    places = {re.sub(r"\.\d+$", "", place) for place in found}
    # Of a section that several families have, the section itself is named, too.
    assert {place for place in places if not any(other.startswith(f"{place}.") for other in places)} == wrong.keys()


def _outside(node: Any, bound: str, prefix: str) -> Iterator[tuple[str, Any]]:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from _outside(value, bound, f"{prefix}{item.name}.")
        elif bound in item.metadata:
            limit = item.metadata[bound] + {"low": -1, "high": 1, "above": 0}[bound]
            yield f"{prefix}{item.name}", [limit] * max(1, len(value)) if isinstance(value, Sequence) else limit


@dataclass
class ToySampling:
    """A section that has the name of another family's."""

    pace: Literal["slow", "fast"] = "slow"
    """How fast."""
    k: float = knob(0.5, above=0, high=1)
    """A share."""


@dataclass
class ToyExperiment(Experiment):
    """A family beside the real ones."""

    family: str = "toy"
    sampling: ToySampling = field(default_factory=ToySampling)
    """Something else than PURE's."""


def test_a_section_that_two_families_have_is_checked_by_the_file_s_family() -> None:
    among = schema({**FAMILIES, "toy": ToyExperiment})
    assert mistakes("family: toy\nsampling: {pace: fast, k: 0.7}", among) == {}
    assert mistakes("family: pure\nsampling: {k: 7}", among) == {}
    assert mistakes("base: mine\nsampling: {pace: fast}", among) == {}
    assert mistakes("base: mine\nsampling: {k: 7}\nsweep: {sampling.k: [7, 0.7]}", among) == {}
    assert "sampling" in mistakes("family: toy\nsampling: {guidance: 1}", among)
    assert "sampling.k" in mistakes("family: toy\nsampling: {k: 7}", among)
    assert "sampling" in mistakes("family: pure\nsampling: {pace: fast}", among)
    assert mistakes("base: mine\nsampling: {pace: fast, guidance: 1}", among) != {}
