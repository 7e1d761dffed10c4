"""What NSARM trains, as one network: the transformer, the transformation network, or both.

Knows which of them there are, and how they are kept on disk. How tensors are written is `models/weights.py`'s. Knows
nothing of pictures or training.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.config.transformation import TransformationConfig
from lit_pure.models.next_scale import NextScaleTransformer, decays
from lit_pure.models.transformation import AnyTransformation, make_transformation
from lit_pure.models.weights import load_frozen, read_config, read_state, save

KIND = "nsarm"


@dataclass
class NetworkConfig:
    """Sizes of the parts of a network."""

    latent: int
    """Channels of the tokenizer's latent: bits of a cell."""
    transformer: NextScaleConfig | None = None
    transformation: TransformationConfig | None = None


class NSARMNetwork(nn.Module):
    """The trained parts; None for one that is not there."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = NextScaleTransformer(config.transformer) if config.transformer else None
        self.transformation: AnyTransformation | None = None
        if config.transformation:
            self.transformation = make_transformation(config.transformation, config.latent)

    def units(self) -> list[nn.Module]:
        """The modules whose weights several processes share out, and gather together; each after what it contains."""
        found: list[nn.Module] = []
        if self.transformer is not None:
            found += [*self.transformer.blocks, self.transformer.embed, self.transformer.head, self.transformer]
        if self.transformation is not None:
            found += [*self.transformation.branches, self.transformation]
        return found

    def undecayed(self) -> list[nn.Parameter]:
        """Parameters without weight decay."""
        return [item for name, item in self.named_parameters() if not decays(name, item)]


def save_network(
    folder: Path, network: NSARMNetwork, state: Mapping[str, Tensor] | None = None, largest: int | None = None
) -> None:
    """Write a network. `state` is its state dict where that had to be gathered from several processes."""
    own = network.state_dict() if state is None else state
    save(folder, KIND, asdict(network.config), own, largest=largest)


def load_network(folder: Path) -> NSARMNetwork:
    """Read a network, frozen, in the dtype in which it was stored. Raises ValueError naming folder and remedy."""
    config = read_config(folder, KIND, NetworkConfig)
    return load_frozen(lambda: NSARMNetwork(config), read_state(folder), folder)
