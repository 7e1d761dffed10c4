"""The layouts of published weights, and which of our families reads and writes each.

Knows which function converts which layout. Knows nothing of where files come from (`fetch.py`), or of the tensors of a
layout (the files named like the layouts). Imports no torch before weights are read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lit_pure.config.bit_tokenizer import BitTokenizerExperiment
from lit_pure.config.dem import DemExperiment
from lit_pure.config.experiment import Experiment
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.runs.folder import Run


@dataclass(frozen=True)
class Files:
    """A published checkpoint on this machine."""

    folder: Path
    paths: list[Path]
    vocabulary: Path | None
    """None where the checkpoint has none, or where it is not downloaded yet."""


Read = Callable[[Any, Files, Run, Mapping[str, Run], str], dict[str, Any]]
"""Writes the weights of a checkpoint into a run and its sizes into the experiment; returns entries for the summary.
Arguments: the family's experiment, files, run, the needed runs by role, and the remedy for a damaged file."""


@dataclass(frozen=True)
class WeightsLayout:
    """One layout of published weights."""

    family: type[Experiment]
    """The family of the weights."""
    read: Read
    write: Callable[[Path, Run, int], None]
    """Writes the weights of a run to a path; the number is `--norm-rows`."""


def _read_llamagen(
    experiment: TokenizerExperiment, files: Files, run: Run, below: Mapping[str, Run], remedy: str
) -> dict[str, Any]:
    from lit_pure.convert.llamagen import read_llamagen
    from lit_pure.models import weights

    tokenizer = read_llamagen(files.paths[0], experiment.vq, remedy)
    weights.save_tokenizer(run.weights, tokenizer)
    return {"parameters": sum(item.numel() for item in tokenizer.parameters())}


def _write_llamagen(out: Path, run: Run, norm_rows: int) -> None:
    from lit_pure.convert.llamagen import write_llamagen
    from lit_pure.models import weights

    write_llamagen(out, weights.load_tokenizer(run.weights))


def _read_deresnet(
    experiment: DemExperiment, files: Files, run: Run, below: Mapping[str, Run], remedy: str
) -> dict[str, Any]:
    from lit_pure.convert.deresnet import read_deresnet
    from lit_pure.degradation.weights import save_dem
    from lit_pure.lit.dem import calibrate_imported

    dem = read_deresnet(files.paths[0], experiment.dem, remedy)
    row: dict[str, Any] = {"parameters": sum(item.numel() for item in dem.parameters())}
    if experiment.dem.labels == "terciles":
        row["calibrated_on"] = calibrate_imported(dem, experiment)
    save_dem(run.weights, dem)
    return row


def _write_deresnet(out: Path, run: Run, norm_rows: int) -> None:
    from lit_pure.convert.deresnet import write_deresnet
    from lit_pure.degradation.weights import load_dem

    write_deresnet(out, load_dem(run.weights))


def _read_chameleon(
    experiment: PureExperiment, files: Files, run: Run, below: Mapping[str, Run], remedy: str
) -> dict[str, Any]:
    from lit_pure.convert.chameleon import read_chameleon
    from lit_pure.families.pure.weights import save_pure

    assert files.vocabulary is not None, "the schema asks for one"
    backbone, vocabulary = read_chameleon(files.folder, files.vocabulary, remedy)
    if "tokenizer" in below:
        _refuse_other_codes(vocabulary.codes, below["tokenizer"])
    ours = experiment.backbone
    sizes = replace(backbone.config, code_rows=ours.code_rows, loss_chunk=ours.loss_chunk)
    backbone.config = experiment.backbone = sizes
    save_pure(run.weights, backbone, vocabulary)
    experiment.vocabulary.path = str(run.weights / "vocabulary.json")
    return {"parameters": sum(item.numel() for item in backbone.parameters())}


def _refuse_other_codes(codes: int, tokenizer: Run) -> None:
    known = tokenizer.experiment_as(TokenizerExperiment).vq.codes
    if known != codes:
        what = f"{tokenizer.label} has {known:,} codes, the vocabulary {codes:,}"
        raise ValueError(f"{what}; set another needs.tokenizer")


def _write_chameleon(out: Path, run: Run, norm_rows: int) -> None:
    from lit_pure.convert.chameleon import write_chameleon
    from lit_pure.families.pure.weights import load_pure

    write_chameleon(out, *load_pure(run.weights), norm_rows)


def _read_infinity_vae(
    experiment: BitTokenizerExperiment, files: Files, run: Run, below: Mapping[str, Run], remedy: str
) -> dict[str, Any]:
    from lit_pure.convert.infinity_vae import read_infinity_vae
    from lit_pure.models import weights

    tokenizer = read_infinity_vae(files.paths[0], experiment.bsq, remedy)
    weights.save_bit_tokenizer(run.weights, tokenizer)
    return {"parameters": sum(item.numel() for item in tokenizer.parameters())}


def _write_infinity_vae(out: Path, run: Run, norm_rows: int) -> None:
    from lit_pure.convert.infinity_vae import write_infinity_vae
    from lit_pure.models import weights

    write_infinity_vae(out, weights.load_bit_tokenizer(run.weights))


def _read_nsarm(
    experiment: NSARMExperiment, files: Files, run: Run, below: Mapping[str, Run], remedy: str
) -> dict[str, Any]:
    """Of either layout; the file has the transformation network in `nsarm` alone."""
    from lit_pure.convert.nsarm import read_nsarm
    from lit_pure.families.nsarm.network import save_network
    from lit_pure.families.nsarm.schedule import NO_TOKENIZER

    if "tokenizer" not in below:
        raise ValueError(NO_TOKENIZER)
    tokenizer = below["tokenizer"]
    path = files.paths[0] if len(files.paths) == 1 else files.folder
    network = read_nsarm(path, experiment, tokenizer.experiment_as(BitTokenizerExperiment).bsq, tokenizer.label, remedy)
    save_network(run.weights, network)
    assert network.config.transformer is not None
    experiment.transformer = network.config.transformer
    return {"parameters": sum(item.numel() for item in network.parameters())}


def _write_nsarm(out: Path, run: Run, norm_rows: int) -> None:
    from lit_pure.convert.nsarm import write_nsarm
    from lit_pure.families.nsarm.network import load_network

    write_nsarm(out, load_network(run.weights))


VOCABULARY = "text_tokenizer.json"
"""The vocabulary in a folder of layout chameleon that we write."""
AGAIN = "convert the weights again"

LAYOUTS = {
    "chameleon": WeightsLayout(PureExperiment, _read_chameleon, _write_chameleon),
    "llamagen": WeightsLayout(TokenizerExperiment, _read_llamagen, _write_llamagen),
    "deresnet": WeightsLayout(DemExperiment, _read_deresnet, _write_deresnet),
    "infinity_vae": WeightsLayout(BitTokenizerExperiment, _read_infinity_vae, _write_infinity_vae),
    "infinity": WeightsLayout(NSARMExperiment, _read_nsarm, _write_nsarm),
    "nsarm": WeightsLayout(NSARMExperiment, _read_nsarm, _write_nsarm),
}
"""All layouts, by the name in `source.layout`."""


def layout_of(experiment: Experiment) -> WeightsLayout:
    """The layout of an experiment's source. Raises ValueError where it belongs to another family."""
    name = experiment.source.layout
    if name not in LAYOUTS or not isinstance(experiment, LAYOUTS[name].family):
        raise ValueError(f"source.layout = {name} is not a layout for family {experiment.family}; leave it empty")
    return LAYOUTS[name]


def read_back(weights: Path, run: Run, below: Mapping[str, Run]) -> Experiment:
    """Read what `write` of the run's layout wrote into the run's folder of weights; the settings that go with them.

    Args:
        weights: the folder or file that was written.
        run: has the settings, and the folder to read into.
        below: the runs that it needs, by role.

    Raises ValueError naming what does not fit.
    """
    experiment, layout = run.experiment(), layout_for(run)
    # A transformer alone is written in Infinity's layout, with a transformation network in NSARM's.
    whole = getattr(experiment, "trains_transformation", True)
    names = [name for name, one in LAYOUTS.items() if one.family is layout.family]
    own = experiment.source.layout
    experiment.source.layout = names[-1] if whole else names[0]  # type: ignore[assignment]
    folder = weights if weights.is_dir() else weights.parent
    paths = sorted(folder.glob("*.safetensors")) if weights.is_dir() else [weights]
    vocabulary = folder / VOCABULARY
    if names == ["chameleon"] and not vocabulary.is_file():
        raise ValueError(f"{vocabulary} is missing; {AGAIN}")
    layout.read(experiment, Files(folder, paths, vocabulary), run, below, AGAIN)
    experiment.source.layout = own
    return experiment


def layout_for(run: Run) -> WeightsLayout:
    """The published layout for the weights of a run. Raises ValueError where its family has none."""
    kinds = {layout.family.family: layout for layout in LAYOUTS.values()}
    family = run.experiment().family
    if family not in kinds:
        raise ValueError(f"{run.label} is a run of family {family}, which has no published layout; name another run")
    return kinds[family]
