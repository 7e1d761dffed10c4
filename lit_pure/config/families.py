"""The families of experiments: the root dataclass for each value of `family:` in YAML.

The knobs are defined in the files beside this one: `experiment.py` (common to all), `data.py`, `training.py`, and one
file per family. What a family does with its knobs is in `lit_pure/families/`.
"""

from lit_pure.config.bit_tokenizer import BitTokenizerExperiment
from lit_pure.config.dem import DemExperiment
from lit_pure.config.experiment import Experiment
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment

FAMILIES: dict[str, type[Experiment]] = {
    "pure": PureExperiment,
    "tokenizer": TokenizerExperiment,
    "dem": DemExperiment,
    "bit_tokenizer": BitTokenizerExperiment,
    "nsarm": NSARMExperiment,
}
"""The root dataclass of each family; `family:` in YAML selects one."""
