"""Builds NSARM's networks and restorers: with fresh weights, or those of other runs.

Knows seeds, and which stage takes which part from which run. Knows nothing of how training proceeds.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.config.compose import ConfigError
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.families.nsarm.network import NetworkConfig, NSARMNetwork, load_network, save_network
from lit_pure.families.nsarm.restorer import NSARMRestorer
from lit_pure.families.nsarm.schedule import NO_TOKENIZER, check_fit
from lit_pure.models import weights
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

PARTS = ("transformer", "transformation")
"""Names of the parts of a network, and of the roles of `needs` that they may come from."""


def network_config(experiment: NSARMExperiment, latent: int) -> NetworkConfig:
    """The sizes of the network that an experiment trains, for a tokenizer with so many latent channels."""
    return NetworkConfig(
        latent,
        experiment.transformer if experiment.trains_transformer else None,
        experiment.transformation if experiment.trains_transformation else None,
    )


def build_network(experiment: NSARMExperiment, latent: int, needs: Mapping[str, Run]) -> NSARMNetwork:
    """The network that an experiment trains, in float32 and training mode.

    Fresh weights depend only on `seed`. A part comes from the run in its own role of `needs`, else from `start`.

    Raises:
        ValueError: such a run lacks the part, or has other sizes.
    """
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)  # independent of anything loaded or drawn before
        network = NSARMNetwork(network_config(experiment, latent))
    for part in PARTS:
        role = part if part in needs else "start"
        own: nn.Module | None = getattr(network, part)
        if own is not None and role in needs:
            _take(own, part, needs[role], role)
    return network.train()


def _take(own: nn.Module, part: str, run: Run, role: str) -> None:
    """Copy a part's weights from a run."""
    stored = load_network(run.weights)
    theirs: nn.Module | None = getattr(stored, part)
    if theirs is None:
        raise ValueError(f"needs.{role}: {run.label} has no {part}; name a run that trained one")
    sizes, wanted = (asdict(one.config) for one in (theirs, own))  # type: ignore[call-overload]
    # What only training depends on may differ.
    differing = [key for key in wanted if sizes[key] != wanted[key] and key not in _OF_TRAINING]
    if differing:
        key = differing[0]
        raise ValueError(
            f"needs.{role}: {run.label} has {part}.{key} = {sizes[key]}, not {wanted[key]}; take its sizes"
        )
    own.load_state_dict(theirs.state_dict())


_OF_TRAINING = ("drop_path", "dropout", "gate", "attention")


def new_restorer(experiment: NSARMExperiment, needs: Mapping[str, Run]) -> NSARMRestorer:
    """The restorer to train, or the trained one if the experiment only samples."""
    if "tokenizer" not in needs:
        raise ConfigError(NO_TOKENIZER)
    tokenizer = weights.load_bit_tokenizer(needs["tokenizer"].weights)
    if "weights" in needs:
        return trained_restorer(experiment, tokenizer, needs["weights"])
    check_fit(experiment, tokenizer.config)
    return NSARMRestorer(tokenizer, build_network(experiment, tokenizer.config.bits, needs), experiment)


def trained_restorer(experiment: NSARMExperiment, tokenizer: BitTokenizer, run: Run) -> NSARMRestorer:
    """The restorer with a finished run's network, in the dtype of its weights."""
    return NSARMRestorer(tokenizer, load_network(run.weights), experiment)


def export(run: Run, state: dict[str, Tensor], out: Path) -> list[str]:
    """Write a checkpoint's network as weights of a run.

    Returns names of tensors that are missing or have another shape; if there are any, nothing is written.
    """
    experiment = run.experiment_as(NSARMExperiment)
    tokenizer = weights.read_config(runs.require(run.need("tokenizer")).weights, "bit_tokenizer", BitTokenizerConfig)
    with torch.device("meta"):
        network = NSARMNetwork(network_config(experiment, tokenizer.bits))
    own = network.state_dict()
    differing = own.keys() ^ state.keys() | {n for n in own.keys() & state if own[n].shape != state[n].shape}
    if not differing:
        save_network(out, network, state, sys.maxsize)
    return sorted(differing)
