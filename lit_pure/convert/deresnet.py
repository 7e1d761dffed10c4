"""The official layout of MM-RealSR's degradation estimator (DEResNet) <-> ours.

Knows the names of its tensors, and where they are in a checkpoint of the whole MM-RealSR network: below `de_net.` in
the table `params` of MMRealSRGAN.pth and MMRealSRNet.pth. Knows nothing of where files come from. As here, their
network 0 scores blur and 1 noise; both take RGB in [0, 1] at the size of the LQ image.

Only our estimator has thresholds: after reading they are those of a new one (`first_thresholds`); they are not written.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.dem import DemConfig
from lit_pure.convert.foreign import read_pickle, require_shapes, shapes, tensors, unwrapped
from lit_pure.degradation.dem import DegradationEstimator, first_thresholds
from lit_pure.files.atomic import whole_file
from lit_pure.models import weights

TABLE = "params"
"""The table in which basicsr stores a network, and from which official inference reads it."""
WITHIN = "de_net."
"""Prefix of the estimator inside the super-resolution network; all other tensors are ignored."""
THRESHOLDS = "thresholds_22"
STRIDES = {1, 2}
"""Strides that DEResNet is defined for."""


def key_table(config: DemConfig) -> dict[str, str]:
    """Their names -> ours, for all tensors except thresholds. Raises ValueError where the layout has no such model."""
    if not set(config.downscales) <= STRIDES:
        raise ValueError(f"downscales {config.downscales} have no official layout; use 1 and 2")
    with torch.device("meta"):
        names = DegradationEstimator(config).state_dict()
    return {_official_name(name): name for name in names if name != THRESHOLDS}


def from_deresnet(state: Mapping[str, Tensor], config: DemConfig, source: Path, remedy: str) -> dict[str, Tensor]:
    """Our state dict from theirs: the same tensors under our names, and the thresholds of a new estimator.

    Args:
        state: of the estimator, or of the whole network that contains it.
        config: the sizes.
        source: the file, for the error.
        remedy: what to do about it, for the error.

    Raises:
        ValueError: naming what is missing, unknown or misshapen.
    """
    table = key_table(config)
    with torch.device("meta"):
        ours = shapes(DegradationEstimator(config).state_dict())
    found = unwrapped(state, {*table, WITHIN})
    inner = {name.removeprefix(WITHIN): item for name, item in found.items() if name.startswith(WITHIN)}
    used = inner or found
    require_shapes(shapes(used), {theirs: ours[name] for theirs, name in table.items()}, source, remedy)
    return {**{table[name]: item for name, item in used.items()}, THRESHOLDS: first_thresholds(config)}


def to_deresnet(state: Mapping[str, Tensor], config: DemConfig) -> dict[str, Tensor]:
    """Their state dict from ours."""
    return {theirs: state[ours] for theirs, ours in key_table(config).items()}


def read_deresnet(path: Path, config: DemConfig, remedy: str) -> DegradationEstimator:
    """A frozen estimator of the sizes in `config`, not calibrated for terciles; runs no code from the file.

    Raises ValueError with the remedy.
    """
    state = from_deresnet(tensors(read_pickle(path, remedy), path, remedy), config, path, remedy)
    return weights.load_frozen(lambda: DegradationEstimator(config), state, path).float()


def write_deresnet(path: Path, estimator: DegradationEstimator) -> None:
    """Write a file that `DEResNet.load_state_dict` takes (its `params`). Raises ValueError where that is impossible."""
    state = to_deresnet(estimator.state_dict(), estimator.config)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save({TABLE: {name: item.detach().cpu() for name, item in state.items()}}, partial)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be written ({error}); choose another place, or make room") from error


def _official_name(name: str) -> str:
    """Their name for one of our tensors, nets.FACTOR.body.LAYER... or nets.FACTOR.head.LAYER..."""
    _, factor, part, layer, rest = name.split(".", 4)
    if part == "head":
        return f"fc_degree.{factor}.{layer}.{rest}"
    # In their network the first convolution is a separate module.
    return f"body.{factor}.{int(layer) - 1}.{rest}" if int(layer) else f"conv_first.{factor}.{rest}"
