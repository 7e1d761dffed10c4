"""Text encoders: captions -> packed features that a transformer attends to.

Knows captions and features. Knows nothing of pictures, or of what is done with features. Two encoders share one call,
`encoder(captions, device)`: NSARM's, the encoder of flan-t5-xl by transformers (arXiv 2510.00820), and a stand-in for
small models that needs no weights. Both are frozen, and are not parts of a network: optimizers and checkpoints never
see them.

Shape legend: B captions, T tokens of the longest one, N tokens of all together, W channels.
"""

import logging
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import shake_256
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lit_pure.config.text_encoder import TextEncoderConfig
from lit_pure.models.packed_text import PackedText

log = logging.getLogger(__name__)

WORD = re.compile(r"\w+|[^\w\s]")
"""A token of the stand-in: a word, or one mark."""
END = "</s>"
"""The last token of each caption, so that none has no token at all."""
REMEMBERED = 2**14
"""Vectors of the stand-in that stay in memory: of width 64, 4 MB."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TextEncoder(Protocol):
    """What all text encoders promise."""

    @property
    def width(self) -> int:
        """Channels of the features."""
        ...

    def __call__(self, captions: Sequence[str], device: torch.device) -> PackedText:
        """Features of captions, at least one, as float32 on `device`, without gradient.

        A caption's do not depend on the others, but for rounding. The end token of a caption is one of its tokens.
        A caption of more than `max_tokens` is cut, and the first one that is cut is reported in the log.
        """
        ...


def make_text_encoder(config: TextEncoderConfig) -> TextEncoder:
    """The encoder of a config; nothing is loaded before the first caption."""
    return T5Encoder(config) if config.kind == "t5" else HashedEncoder(config)


class T5Encoder:
    """The encoder of a T5 model (arXiv 1910.10683), loaded at the first call."""

    def __init__(self, config: TextEncoderConfig) -> None:
        self.config = config
        self.width = config.width
        self._parts: tuple[Any, Any] | None = None

    @torch.no_grad()
    def __call__(self, captions: Sequence[str], device: torch.device) -> PackedText:
        """See `TextEncoder`. Raises ValueError where the model cannot be loaded or has another width; with a remedy."""
        if self._parts is None:
            self._parts = self._load()
        tokenizer, model = self._parts
        model.to(device)
        ids = [_cut(item, self.config.max_tokens) for item in tokenizer(list(captions), verbose=False)["input_ids"]]
        lengths = torch.tensor([len(item) for item in ids], device=device)
        # Padding is masked, so it changes no feature; to the longest caption, because more would only take time.
        ids_BT = pad_sequence([torch.tensor(item, device=device) for item in ids], batch_first=True)
        mask_BT = torch.arange(ids_BT.shape[1], device=device) < lengths[:, None]
        with torch.autocast(device.type, enabled=False):
            features_BTW = model(input_ids=ids_BT, attention_mask=mask_BT.long()).last_hidden_state
        return PackedText(features_BTW[mask_BT].float(), tuple(len(item) for item in ids))

    def _load(self) -> tuple[Any, Any]:
        """Tokenizer and frozen encoder."""
        import transformers

        library: Any = transformers  # only partly annotated
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
        name, dtype = self.config.model, DTYPES[self.config.dtype]
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(name)
            loader = library.T5EncoderModel
            model, report = loader.from_pretrained(name, dtype=dtype, output_loading_info=True)
        except Exception as error:  # readers of broken folders raise nearly anything
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(
                f"{name}: the text encoder cannot be loaded ({reason}); run `hf download {name}` on a machine with a "
                "network, or give a folder with a T5 model"
            ) from error
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"{name}: {len(missing)} weights are missing, such as {missing[0]}; download it again")
        if model.config.d_model != self.width:
            raise ValueError(f"{name} has features of {model.config.d_model} channels, not {self.width}; set width")
        return tokenizer, model.requires_grad_(False).eval()


class HashedEncoder:
    """The stand-in: each word has a fixed random vector, and so has each place; a token is their sum.

    Vectors are made of the bytes of a hash, so they are the same on every machine. Their numbers have mean 0 and
    variance 1. Like words do not have like vectors.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        self.config = config
        self.width = config.width

    def __call__(self, captions: Sequence[str], device: torch.device) -> PackedText:
        """See `TextEncoder`; case does not count."""
        cut = [_cut([*WORD.findall(caption.lower()), END], self.config.max_tokens) for caption in captions]
        rows = [
            (_hashed(f"word {word}", self.width) + _hashed(f"place {place}", self.width)) / 2**0.5
            for words in cut
            for place, word in enumerate(words)
        ]
        return PackedText(torch.stack(rows).to(device), tuple(len(words) for words in cut))


@lru_cache(maxsize=REMEMBERED)
def _hashed(name: str, width: int) -> Tensor:
    """A vector (W,) of mean 0 and variance 1, made of the bytes of a hash."""
    raw = torch.frombuffer(bytearray(shake_256(name.encode()).digest(width)), dtype=torch.uint8)
    return (raw.float() - 127.5) / ((256**2 - 1) / 12) ** 0.5


def _cut(tokens: list[Any], limit: int) -> list[Any]:
    """At most `limit` tokens, of which the last one is always the end token."""
    if len(tokens) <= limit:
        return tokens
    _report_cut(limit)
    return [*tokens[: limit - 1], tokens[-1]]


@cache
def _report_cut(limit: int) -> None:
    """Once per process: datasets have many long captions, or none."""
    log.warning("a caption has more than %d tokens and is cut there; so is every other one, without a word", limit)
