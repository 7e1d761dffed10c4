"""The run that training starts from (`needs.start`), and whether an experiment can start from it.

Knows run folders and settings, not weights. Imports no torch, so that a mismatch is refused at once.
"""

import json
from pathlib import Path
from typing import Any

from lit_pure.config.compose import ConfigError
from lit_pure.config.project import locate
from lit_pure.config.pure import BackboneConfig, PureExperiment
from lit_pure.files.reading import BROKEN
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

NO_TOKENIZER = "needs.tokenizer names no run; a PURE experiment needs one, for example tokenizer/nano"
NO_BASE = "; `base: pure/nano` in the file, or base=pure/nano, gives it all that a PURE experiment needs"
FIXED = ("width", "layers", "heads", "ffn", "rope_theta", "norm_eps")
"""Knobs of a backbone that its weights depend on; other knobs concern training only and may differ."""


def require_start(name: str) -> Run:
    """The run whose backbone `name` has: the newest finished run; if that only sampled, the run it sampled from.

    Raises:
        MissingRun: there is none; the message gives the command that makes it.
        ConfigError: it has no backbone.
    """
    run = runs.require(name)
    experiment = run.experiment()
    if not isinstance(experiment, PureExperiment):
        raise ConfigError(
            f"needs.start = {name}: {run.label} is a run of family {experiment.family}, which has no backbone; "
            "name a pure one"
        )
    return require_start(run.need("weights")) if experiment.needs.weights else run


def check_start(run: Run, experiment: PureExperiment) -> None:
    """Raises ConfigError that names all differences if an experiment cannot start from a run's backbone."""
    _check_shapes(run, experiment.backbone)
    theirs, ours = run.weights / "vocabulary.json", locate(experiment.vocabulary.path)
    if difference := _vocabulary_difference(theirs, ours):
        raise ConfigError(
            f"needs.start = {run.label} was trained with another vocabulary than vocabulary.path = {ours} "
            f"({difference}); use the vocabulary of that run: vocabulary.path={theirs}"
        )


def _check_shapes(run: Run, wanted: BackboneConfig) -> None:
    path = run.weights / "config.json"
    try:
        known: dict[str, Any] = json.loads(path.read_bytes())["config"]
        found = {name: known[name] for name in FIXED}
    except BROKEN as error:
        raise ConfigError(f"{path} cannot be read ({error}); name another run in needs.start") from error
    # A head either has a prior or has none; its value is learned. Older runs have no word for it.
    found["lq_prior"] = known.get("lq_prior", 0.0)
    differing = [name for name in FIXED if found[name] != getattr(wanted, name)]
    differing += ["lq_prior"] if bool(found["lq_prior"]) != bool(wanted.lq_prior) else []
    # A weight that follows can start from one that does not, but not the other way round.
    found["lq_prior_follows"] = known.get("lq_prior_follows", False)
    differing += ["lq_prior_follows"] if found["lq_prior_follows"] and not wanted.lq_prior_follows else []
    if differing:
        shown = ", ".join(f"backbone.{name} {getattr(wanted, name)} (there {found[name]})" for name in differing)
        remedy = " ".join(f"backbone.{name}={found[name]}" for name in differing)
        raise ConfigError(f"needs.start = {run.label} has another backbone: {shown}; use its sizes: {remedy}")


def _vocabulary_difference(theirs: Path, ours: Path) -> str:
    """How two tokenizer JSONs differ; empty if they are equal."""
    first, second = _parse(theirs), _parse(ours)
    if first == second:
        return ""
    known, wanted = _ids(first), _ids(second)
    if moved := [name for name, number in known.items() if wanted.get(name) != number]:
        shown = ", ".join(moved[:3])
        return f"{len(moved):,} of its {len(known):,} words have another id or none here, such as {shown}"
    if len(known) != len(wanted):
        return f"it has {len(known):,} words, here are {len(wanted):,}"
    return "the words are the same, but text is tokenized differently"


def _ids(parsed: dict[str, Any]) -> dict[str, int]:
    """The id of each word of a tokenizer JSON."""
    added = {item["content"]: item["id"] for item in parsed.get("added_tokens", [])}
    return {**parsed["model"]["vocab"], **added}


def _parse(path: Path) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(path.read_bytes())
        _ids(parsed)
    except BROKEN as error:
        raise ConfigError(f"{path} cannot be read as a vocabulary ({error}); see lit-pure vocabulary") from error
    return parsed
