"""What is to be done for a study: one arm on one set with one seed is a job.

Knows what a job's scores depend on, and so when they need not be computed again. Knows nothing of how they are.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lit_pure.config.compose import ConfigError
from lit_pure.families.settings import settings_of
from lit_pure.families.table import family_of
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.study.plan import ENTROPY, ArmConfig, Method, StudyConfig
from lit_pure.study.sets import Pictures


@dataclass(frozen=True, eq=False)
class Job:
    """One arm on one set with one seed."""

    arm: str
    pictures: Pictures
    seed: int
    method: Method
    run: Run | None
    settings: tuple[str, ...]
    given_words: bool
    metrics: tuple[str, ...]
    identity: dict[str, Any]
    """All that its scores depend on."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """Tells it from any other job."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.arm}, {self.pictures.name}, seed {self.seed}"


def lacking(plan: StudyConfig) -> dict[str, str]:
    """The arms whose runs are not there, with the names of those runs."""
    wanted = {name: arm.run or plan.run for name, arm in plan.arms.items() if arm.method != "bicubic"}
    return {name: run for name, run in wanted.items() if runs.newest_finished(run) is None}


def jobs_of(plan: StudyConfig, sets: dict[str, Pictures]) -> Iterator[Job]:
    """The jobs of a study in the order in which they are done: seed by seed, so that all arms come along.

    Arms whose runs are `lacking` have none.

    Raises:
        MissingRun: what a run builds on is not there, with the command that makes it.
        ConfigError: a setting cannot be changed, or a run does not go with the method.
    """
    without = lacking(plan)
    bases = {name: _basis(plan, name, arm) for name, arm in plan.arms.items() if name not in without}
    for place, seed in enumerate(plan.seeds):
        for name, arm in plan.arms.items():
            if name not in bases:
                continue
            seeds = arm.seeds or len(plan.seeds)
            if place >= (seeds if bases[name].seed else 1):  # where nothing is drawn, one is as good as all
                continue
            for pictures in sets.values():
                # What is shown is shown with one seed.
                if (not arm.sets or pictures.name in arm.sets) and not (pictures.config.shown and place):
                    yield _job(plan, name, bases[name], pictures, seed)


@dataclass(frozen=True)
class _Basis:
    """What all jobs of an arm have in common, found once: reading a run's settings takes longer than all else here."""

    run: Run | None
    depends: dict[str, Any]
    seed: str
    """The knob that takes the seed; empty where nothing is drawn."""
    maps: bool
    """Whether its restorations have maps."""


def _basis(plan: StudyConfig, name: str, arm: ArmConfig) -> _Basis:
    run = runs.require(arm.run or plan.run) if arm.method != "bicubic" else None
    depends: dict[str, Any] = {"method": arm.method}
    if arm.method == "reconstruct":
        assert run is not None
        if family_of(run).tokenizer_run(run) != run:
            raise ConfigError(f"arms.{name}.run = {run.label}: {arm.method} takes a tokenizer; name the run of one")
        depends["weights"] = _weights(run)
    if arm.method != "restore":
        return _Basis(run, depends, "", False)
    assert run is not None
    family, made = family_of(run), settings_of(run, (*plan.settings, *arm.settings))
    depends |= {role: _weights(one) for role, one in family.weights(run).items()}
    depends |= {section: asdict(getattr(made, section)) for section in family.changeable}
    depends["restoring"].pop("batch")  # which changes no picture
    depends["words"] = arm.words
    if arm.words == "given":
        depends |= {role: _weights(one) for role, one in family.words_given_by(run).items()}
    return _Basis(run, depends, family.seed, bool(family.maps))


def _job(plan: StudyConfig, name: str, basis: _Basis, pictures: Pictures, seed: int) -> Job:
    arm, run = plan.arms[name], basis.run
    # Entropy costs nothing, and a job that has it serves studies of it, too.
    metrics = (*(key for key in plan.metrics if key not in ENTROPY), *(ENTROPY if basis.maps else ()))
    settings = (*plan.settings, *arm.settings) if arm.method == "restore" else ()
    depends = basis.depends
    if basis.seed:
        section, _, knob = basis.seed.partition(".")
        settings = (*settings, f"{basis.seed}={seed}")
        depends = {**depends, section: {**depends[section], knob: seed}}
    identity = {**depends, **({"run": run.label} if run else {}), **pictures.identity, "metrics": list(metrics)}
    return Job(name, pictures, seed, arm.method, run, settings, arm.words == "given", metrics, identity)


def _weights(run: Run) -> str:
    """The digest of a run's weights, as it was written with them."""
    recorded = json.loads((run.weights / "config.json").read_text(encoding="utf-8")).get("sha256", {})
    return hashlib.sha256(json.dumps(recorded, sort_keys=True).encode()).hexdigest()[:12]
