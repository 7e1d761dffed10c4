"""The family of visual tokenizers. Knows what it answers; the networks are in `models/`, training in `lit/`."""

from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.families.family import Family
from lit_pure.images.labels import RECONSTRUCTED
from lit_pure.runs.folder import Run


class Tokenizer(Family):
    """Pictures to codes and back."""

    config = TokenizerExperiment
    module = "lit_pure.lit.tokenizer"
    method = RECONSTRUCTED
    changeable = ()

    def tokenizer_run(self, run: Run) -> Run:
        """The run itself."""
        return run
