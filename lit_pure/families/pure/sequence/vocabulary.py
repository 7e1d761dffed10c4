"""The only owner of ids: text, image codes, special tokens, grid sizes.

Knows PURE's token names (Lumina-mGPT's, from Chameleon) and reads their ids from a tokenizer JSON, so one class serves
the official layout of 73,728 words and the nano layout. Knows nothing of the order of ids in a sequence
(`assemble.py`), or of which ids are legal where (`sampling/grammar.py`).

Shape legend: N image codes, V vocabulary.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

BOS, PAD, EOS, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"
IMAGE_START, IMAGE_END = "<racm3:break>", "<eoss>"
TURN_END, NEWLINE = "<reserved08706>", "<reserved08799>"
SIZE_BASE = 8800
"""The token for n size units is named <reserved08800+n>, with five digits."""
SIZE_UNIT = 32
"""Pixels of one size unit along a side."""
SPECIAL = re.compile(r"<(s|pad|/s|unk|racm3:break|eoss|image|reserved\d{5})>")
CODE = re.compile(r"IMGIMG([A-J]+)Z")


def code_name(code: int) -> str:
    """The token name of an image code: its decimal digits as letters A to J, 0 -> IMGIMGAZ, 8192 -> IMGIMGIBJCZ."""
    return "IMGIMG" + "".join(chr(ord("A") + int(digit)) for digit in str(code)) + "Z"


def size_name(units: int) -> str:
    """The token name of a side of `units` x 32 px: 16 -> <reserved08816>."""
    return f"<reserved{SIZE_BASE + units:05d}>"


class Vocabulary:
    """Names, ids and codes of one tokenizer JSON.

    Attributes: `size` (rows an embedding needs), `codes` (image codes N), the single ids `bos`, `pad`, `image_start`,
    `image_end`, `newline`, `turn_end`, and the tables `code_ids_N` (code -> id), `id_codes_V` (id -> code, -1
    elsewhere), `text_V` (True where an id is text).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises ValueError if a special token is missing or the image codes are not 0..N-1."""
        self._tokenizer = tokenizer
        ids = tokenizer.get_vocab(with_added_tokens=True)
        wanted = (BOS, PAD, IMAGE_START, IMAGE_END, NEWLINE, TURN_END)
        if absent := [name for name in wanted if name not in ids]:
            raise ValueError(f"the vocabulary lacks {', '.join(absent)}; make one with `lit-pure vocabulary`")
        self.size = max(ids.values()) + 1
        self.bos, self.pad, self.image_start, self.image_end, self.newline, self.turn_end = (ids[n] for n in wanted)
        codes = {_code(name): token for name, token in ids.items() if CODE.fullmatch(name)}
        if sorted(codes) != list(range(len(codes))) or not codes:
            raise ValueError(
                f"the vocabulary's {len(codes)} image codes (IMGIMG...Z) are not 0, 1, 2, ... without a gap"
            )
        self.codes = len(codes)
        self.code_ids_N = torch.tensor([codes[code] for code in range(self.codes)])
        self.id_codes_V = torch.full((self.size,), -1)
        self.id_codes_V[self.code_ids_N] = torch.arange(self.codes)
        self._size_ids = {n: ids[size_name(n)] for n in range(1, 1000) if size_name(n) in ids}
        self.text_V = torch.zeros(self.size, dtype=torch.bool)
        self.text_V[[i for name, i in ids.items() if not SPECIAL.fullmatch(name) and not CODE.fullmatch(name)]] = True

    @classmethod
    def from_file(cls, path: Path) -> "Vocabulary":
        """Read a tokenizer JSON. Raises ValueError naming the file and the remedy."""
        if not path.is_file():
            raise ValueError(f"no vocabulary at {path}; set vocabulary.path, or make one with `lit-pure vocabulary`")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exceptions
            raise ValueError(f"{path} is not a usable tokenizer JSON: {error}") from error

    def save(self, path: Path) -> None:
        """Write the tokenizer JSON that `from_file` reads."""
        self._tokenizer.save(str(path))

    def content(self) -> dict[str, Any]:
        """What `save` writes."""
        content: dict[str, Any] = json.loads(self._tokenizer.to_str())
        return content

    def size_id(self, units: int) -> int:
        """The id of a side of `units` x 32 px. Raises ValueError if the vocabulary has none."""
        if units not in self._size_ids:
            raise ValueError(
                f"the vocabulary has no token for a side of {units} x {SIZE_UNIT} px; "
                f"it has {min(self._size_ids)} to {max(self._size_ids)}"
            )
        return self._size_ids[units]

    def size_units(self, token: int) -> int:
        """The side of a size id [units of 32 px]. Raises ValueError for any other id."""
        for units, size_id in self._size_ids.items():
            if size_id == token:
                return units
        raise ValueError(f"id {token} is not a size token")

    def encode(self, text: str) -> list[int]:
        """Text to ids. Raises ValueError if the text spells a special token."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not bool(self.text_V[ids].all()):
            raise ValueError(f"the text spells a special token or an image code, which is not text: {text!r}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text; ids that are not text are left out."""
        text: str = self._tokenizer.decode([i for i in ids if bool(self.text_V[i])], skip_special_tokens=False)
        return text


def _code(name: str) -> int:
    letters = name.removeprefix("IMGIMG").removesuffix("Z")
    return int("".join(str(ord(letter) - ord("A")) for letter in letters))
