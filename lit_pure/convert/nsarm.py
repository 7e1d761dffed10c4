"""Published files of Infinity and NSARM <-> NSARM's network.

Knows which parts a file of each layout has, and that they must fit the tokenizer. The names of tensors are
`infinity.py`'s and `nsarm_map.py`'s. Knows nothing of where files come from.
"""

from math import gcd
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.convert.infinity import CHUNKS, from_infinity, read_state, sizes_in, split_nsarm, to_infinity
from lit_pure.convert.nsarm_map import from_nsarm_map, to_nsarm_map
from lit_pure.families.nsarm.network import NetworkConfig, NSARMNetwork
from lit_pure.files.atomic import whole_file
from lit_pure.models import weights

PARTS = {"infinity": (True, False), "nsarm": (True, True)}
"""Layout -> whether its files hold the transformer, and the transformation network."""


def read_nsarm(
    path: Path, experiment: NSARMExperiment, tokenizer: BitTokenizerConfig, label: str, remedy: str
) -> NSARMNetwork:
    """The frozen network of a published file or folder, with the transformer's sizes that it has.

    Args:
        path: file or folder.
        experiment: what no tensor tells: layout, stage, and the sizes of the transformation network.
        tokenizer: sizes of the tokenizer.
        label: the name of its run, for the error.
        remedy: what to do about a damaged file, for the error.

    Raises:
        ValueError: the file is damaged, has missing, unknown or misshapen tensors or another part than its layout, or
            does not fit the tokenizer.
    """
    layout = experiment.source.layout
    if (experiment.trains_transformer, experiment.trains_transformation) != PARTS[layout]:
        stage = "pretrain" if layout == "infinity" else "stage2"
        raise ValueError(f"source.layout = {layout} does not hold what stage {experiment.stage} trains; take {stage}")
    state, own = split_nsarm(read_state(path, remedy))
    sizes = sizes_in(state, experiment.transformer, path, remedy)
    if bool(own) != PARTS[layout][1]:
        other, has = ("nsarm", "has a") if own else ("infinity", "has no")
        raise ValueError(f"{path} {has} transformation network; set source.layout={other}, or take another file")
    if sizes.bits != tokenizer.token_bits:
        raise ValueError(
            f"{path} has {sizes.bits} bits per token, and the tokenizer {label} has {tokenizer.token_bits}; set "
            "needs.tokenizer to the one that it was trained with"
        )
    ours = {f"transformer.{name}": item for name, item in from_infinity(state, sizes, path, remedy).items()}
    config = NetworkConfig(tokenizer.bits, sizes)
    if own:
        config.transformation = experiment.transformation
        found = from_nsarm_map(own, experiment.transformation, tokenizer.bits, path, remedy)
        ours |= {f"transformation.{name}": item for name, item in found.items()}
    return weights.load_frozen(lambda: NSARMNetwork(config), ours, path)


def write_nsarm(path: Path, network: NSARMNetwork) -> None:
    """Write a file that the published code reads: like NSARM.pth, or without a transformation network like Infinity's.

    Raises ValueError where there is no transformer, the transformation network has no published layout, or the file
    cannot be written.
    """
    config, state = network.config, network.state_dict()
    if config.transformer is None:
        raise ValueError("a transformation network alone has no published layout; name a run of pretrain or stage2")
    theirs = to_infinity(_part(state, "transformer"), config.transformer, gcd(CHUNKS, config.transformer.layers))
    if config.transformation is not None:
        theirs |= to_nsarm_map(_part(state, "transformation"), config.transformation, config.latent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save({name: item.detach().cpu() for name, item in theirs.items()}, partial)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be written ({error}); choose another place, or make room") from error


def _part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): item for key, item in state.items() if key.startswith(f"{name}.")}
