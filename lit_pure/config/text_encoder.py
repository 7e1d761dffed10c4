"""The knobs of the text encoder: what turns a caption into the features that a transformer attends to.

Knows names, types, defaults and legal ranges (`knob`); the defaults are NSARM's (arXiv 2510.00820). Imports no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lit_pure.config.knobs import Problem, knob


@dataclass
class TextEncoderConfig:
    """A frozen text encoder."""

    kind: Literal["t5", "hashed"] = "t5"
    """`t5` is the encoder of a T5 model; `hashed` gives each word a fixed random vector, for small models."""
    model: str = "google/flan-t5-xl"
    """A folder, or a repository of the Hugging Face hub, with a T5 model and its tokenizer."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float16"
    """Dtype in which T5 computes; features are float32."""
    width: int = knob(2048, low=1)
    """Channels of the features; those of the T5 model, for `hashed` any."""
    max_tokens: int = knob(512, low=1)
    """Longest caption [tokens], the end token included; longer ones are cut."""

    def problems(self) -> Iterator[Problem]:
        if self.kind == "t5" and not self.model:
            yield "model", "is empty; name a folder or a repository with a T5 model"
