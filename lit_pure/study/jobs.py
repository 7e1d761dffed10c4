"""The jobs of a study: one arm on one set with one seed is a job.

Knows what a job's scores depend on, and so when they need not be computed again. Knows nothing of computing them.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from lit_pure.baselines.table import BASELINES
from lit_pure.config.compose import ConfigError
from lit_pure.families.settings import settings_of
from lit_pure.families.table import family_of
from lit_pure.files.reading import read_json
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.study.plan import ENTROPY, ArmConfig, Method, StudyConfig
from lit_pure.study.sets import Pictures

Given = Literal["", "words", "codes"]
"""What the model is given instead of making it."""


@dataclass(frozen=True, eq=False)
class StudyJob:
    """One arm on one set with one seed."""

    arm: str
    pictures: Pictures
    seed: int
    method: Method
    run: Run | None
    settings: tuple[str, ...]
    given: Given
    metrics: tuple[str, ...]
    identity: dict[str, Any]
    """Everything that its scores depend on."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StudyJob) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """Identifies the job."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Name to show."""
        return f"{self.arm}, {self.pictures.name}, seed {self.seed}"


def missing_runs(plan: StudyConfig) -> dict[str, str]:
    """Arms whose runs are missing -> the names of these runs."""
    wanted = {name: arm.run or plan.run for name, arm in plan.arms.items() if arm.needs_run}
    return {name: run for name, run in wanted.items() if runs.newest_finished(run) is None}


def jobs_of(plan: StudyConfig, sets: dict[str, Pictures]) -> Iterator[StudyJob]:
    """The jobs of a study in the order in which they run: seed by seed, so that all arms progress together.

    Arms in `missing_runs` have no jobs.

    Raises:
        MissingRun: a run that another one needs is missing; the message gives the command that makes it.
        ConfigError: a setting cannot be changed, or a run does not fit the method.
    """
    without = missing_runs(plan)
    bases = {name: _arm_basis(plan, name, arm) for name, arm in plan.arms.items() if name not in without}
    for index, seed in enumerate(plan.seeds):
        for name, arm in plan.arms.items():
            if name not in bases:
                continue
            seeds = arm.seeds or len(plan.seeds)
            if index >= (seeds if bases[name].seed else 1):  # without random draws, one seed is enough
                continue
            for pictures in sets.values():
                # Pictures to show are made with one seed.
                if (not arm.sets or pictures.name in arm.sets) and not (pictures.config.shown and index):
                    yield _make_job(plan, name, bases[name], pictures, seed)


@dataclass(frozen=True)
class _ArmBasis:
    """What all jobs of an arm share, computed once: reading a run's settings takes longer than everything else here."""

    run: Run | None
    depends: dict[str, Any]
    seed: str
    """The knob for the seed; empty if nothing is drawn."""
    maps: bool
    """Whether its restorations have maps."""


def _arm_basis(plan: StudyConfig, name: str, arm: ArmConfig) -> _ArmBasis:
    run = runs.require(arm.run or plan.run) if arm.needs_run else None
    depends: dict[str, Any] = {"method": arm.method}
    if arm.method in BASELINES:
        depends |= BASELINES[arm.method].identity
    if arm.method == "reconstruct":
        assert run is not None
        if family_of(run).tokenizer_run(run) != run:
            raise ConfigError(f"arms.{name}.run = {run.label}: {arm.method} needs a tokenizer; name the run of one")
        depends["weights"] = _weights_digest(run)
    if arm.method != "restore":
        return _ArmBasis(run, depends, "", False)
    assert run is not None
    family, settings = family_of(run), settings_of(run, (*plan.settings, *arm.settings))
    depends |= {role: _weights_digest(one) for role, one in family.weights(run).items()}
    depends |= {section: getattr(settings, section).identity() for section in family.changeable}
    depends["words"] = arm.words
    if arm.codes == "given":  # older scores have no word for it
        depends["codes"] = arm.codes
    if arm.words == "given":
        depends |= {role: _weights_digest(one) for role, one in family.words_given_by(run).items()}
    return _ArmBasis(run, depends, family.seed, bool(family.maps))


def _make_job(plan: StudyConfig, name: str, basis: _ArmBasis, pictures: Pictures, seed: int) -> StudyJob:
    arm, run = plan.arms[name], basis.run
    # Entropy costs nothing, and a job with it can be reused by studies of entropy.
    metrics = (*(key for key in plan.metrics if key not in ENTROPY), *(ENTROPY if basis.maps else ()))
    settings = (*plan.settings, *arm.settings) if arm.method == "restore" else ()
    depends = basis.depends
    if basis.seed:
        section, _, knob = basis.seed.partition(".")
        settings = (*settings, f"{basis.seed}={seed}")
        depends = {**depends, section: {**depends[section], knob: seed}}
    identity = {**depends, **({"run": run.label} if run else {}), **pictures.identity, "metrics": list(metrics)}
    given: Given = "codes" if arm.codes == "given" else "words" if arm.words == "given" else ""
    return StudyJob(name, pictures, seed, arm.method, run, settings, given, metrics, identity)


def _weights_digest(run: Run) -> str:
    """The digest of a run's weights, as recorded with them; sharpening changes pictures without a weight."""
    content = read_json(run.weights / "config.json", "make the run again or name another one")
    recorded = content.get("sha256", {})
    if sharpen := content.get("config", {}).get("decoder", {}).get("sharpen"):
        recorded = {**recorded, "sharpen": sharpen}
    return hashlib.sha256(json.dumps(recorded, sort_keys=True).encode()).hexdigest()[:12]
