"""The tokenizer's files in PURE's layout, as the libraries of PURE's own code read them.

Knows `tokenizer.json` of tokenizers 0.19 and `tokenizer_config.json` of transformers 4.43; newer versions read both as
well. Knows nothing of tensors or of config.json (`chameleon.py`).

Two things differ from the file that a run has. Until version 0.20, tokenizers wrote a merge of BPE as one string, and
it reads nothing else. And PURE's code writes the end of a turn into its text, where the tokenizer has to find it: here
special tokens are added tokens, in a run they are words that no text is matched with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_pure.families.pure.sequence.vocabulary import BOS, EOS, PAD, SPECIAL, TURN_END, UNKNOWN, Vocabulary
from lit_pure.files.atomic import write_json

NAMES = ("text_tokenizer.json", "tokenizer.json")
"""The same content: PURE's code reads names of codes from the first one, transformers text from the second one."""
ROLES = {"bos_token": BOS, "eos_token": EOS, "unk_token": UNKNOWN, "pad_token": PAD, "sep_token": TURN_END}
"""Key of tokenizer_config.json -> token."""
EXACT = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
"""How an added token is found in a text: as it stands."""


def write_tokenizer(folder: Path, vocabulary: Vocabulary, positions: int) -> None:
    """Write the files into an existing folder; `positions` is the length that transformers warns beyond.

    Raises ValueError where a merge cannot be written.
    """
    content = tokenizer_json(vocabulary)
    for name in NAMES:
        write_json(folder / name, content)
    words = content["model"]["vocab"]
    roles = {key: token for key, token in ROLES.items() if token in words}  # others would become ids without a row
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **roles, "model_max_length": positions}
    write_json(folder / "tokenizer_config.json", config | {"clean_up_tokenization_spaces": False})


def tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The vocabulary as tokenizers 0.19 reads it. Raises ValueError where a merge cannot be written."""
    content = vocabulary.content()
    model = content["model"]
    if "merges" in model:
        model["merges"] = [_joined(merge) for merge in model["merges"]]
    known = {token["content"]: token for token in content["added_tokens"]}
    special = {
        name: {"id": i, "content": name, **EXACT} for name, i in model["vocab"].items() if SPECIAL.fullmatch(name)
    }
    content["added_tokens"] = sorted((special | known).values(), key=lambda token: int(token["id"]))
    return content


def _joined(merge: Sequence[str]) -> str:
    if any(" " in part for part in merge):
        raise ValueError(
            f"the vocabulary merges {merge[0]!r} with {merge[1]!r}, which PURE's tokenizers 0.19 cannot read: it "
            "separates the two by a space; make another vocabulary with `lit-pure vocabulary`"
        )
    return " ".join(merge)
