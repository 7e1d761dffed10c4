"""All that NSARM's restorer needs in one folder: settings, network and tokenizer.

Knows which files belong together. How tensors are written and checked is `models/weights.py`'s.
"""

from pathlib import Path

from lit_pure.config.compose import load, save
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.families.nsarm.network import NSARMNetwork, load_network, save_network
from lit_pure.files.atomic import write_json
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.weights import load_bit_tokenizer, save_bit_tokenizer

KIND = "nsarm_restorer"
"""What its config.json says that such a folder is."""


def save_restorer(folder: Path, settings: NSARMExperiment, tokenizer: BitTokenizer, network: NSARMNetwork) -> None:
    """Write all that restoring needs: settings in `folder`, weights in two folders below."""
    folder.mkdir(parents=True, exist_ok=True)
    save_bit_tokenizer(folder / "tokenizer", tokenizer)
    save_network(folder / "network", network)
    save(settings, folder / "config.yaml")
    write_json(folder / "config.json", {"kind": KIND, "config": {}})


def load_restorer(folder: Path) -> tuple[NSARMExperiment, BitTokenizer, NSARMNetwork]:
    """Read all that restoring needs. Raises ValueError naming folder and remedy."""
    settings = load(folder / "config.yaml")
    if not isinstance(settings, NSARMExperiment):
        raise ValueError(f"{folder / 'config.yaml'} has settings of family {settings.family}; save the restorer again")
    return settings, load_bit_tokenizer(folder / "tokenizer"), load_network(folder / "network")
