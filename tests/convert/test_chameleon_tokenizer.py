"""The tokenizer's files in PURE's layout, read by the rules of tokenizers 0.19 as written here, and by the newest one.

What is written was also read by tokenizers 0.19.1 and transformers 4.43.4 themselves, once; they cannot be installed
beside the newest ones.
"""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer

from lit_pure.convert.chameleon_tokenizer import NAMES, tokenizer_json, write_tokenizer
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.families.pure.sequence.template import INSTRUCTIONS
from lit_pure.families.pure.sequence.vocabulary import SPECIAL, Vocabulary, code_name

TEXTS = ["Medium blur, small noise. The image shows 2 cats' tails.", *INSTRUCTIONS.values()]
VOCABULARY = make_vocabulary(TEXTS * 3, codes=40, words=330)
POSITIONS = 99
WORD = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
"""How byte-level BPE cuts an ASCII text, in which only a space has another letter (Ġ)."""
TOKEN = {"id": int, "content": str} | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), bool)


class Reader:
    """Encodes as tokenizers 0.19 does; fails at what that refuses or warns of."""

    def __init__(self, content: dict[str, Any]) -> None:
        model, self.words = content["model"], content["model"]["vocab"]
        assert model["type"] == "BPE" and content["pre_tokenizer"]["type"] == "ByteLevel"
        assert not content["pre_tokenizer"]["add_prefix_space"] and not model["ignore_merges"]
        self.ranks: dict[tuple[str, str], int] = {}
        for rank, merge in enumerate(model["merges"]):
            assert isinstance(merge, str), "data did not match any variant of untagged enum ModelWrapper"
            first, second = merge.split(" ")
            assert {first, second, first + second} <= self.words.keys(), "out of vocabulary"
            self.ranks[first, second] = rank
        for token in content["added_tokens"]:
            assert {key: type(value) for key, value in token.items()} == TOKEN
            assert self.words[token["content"]] == token["id"], "the expected id differs"
        self.added = [re.escape(token["content"]) for token in content["added_tokens"]]

    def encode(self, text: str) -> list[int]:
        pieces = re.split(f"({'|'.join(self.added)})", text)
        found: list[int] = []
        for number, piece in enumerate(pieces):
            found += [self.words[piece]] if number % 2 else [self.words[part] for part in self._parts(piece)]
        return found

    def _parts(self, piece: str) -> list[str]:
        return [part for word in WORD.findall(piece) for part in self._merged(list(word.replace(" ", "Ġ")))]

    def _merged(self, parts: list[str]) -> list[str]:
        while pairs := [pair for pair in pairwise(parts) if pair in self.ranks]:
            best = min(pairs, key=self.ranks.__getitem__)
            at = next(i for i, pair in enumerate(pairwise(parts)) if pair == best)
            parts[at : at + 2] = ["".join(best)]
        return parts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path, VOCABULARY, POSITIONS)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_tokenizers_0_19_reads_the_same_words(folder: Path, name: str) -> None:
    reader = Reader(json.loads((folder / name).read_text(encoding="utf-8")))
    assert reader.words == VOCABULARY.content()["model"]["vocab"] and len(reader.ranks) > 50
    for text in TEXTS:
        assert reader.encode(text) == VOCABULARY.encode(text)
    turn = reader.encode("cats<reserved08706>")  # PURE's code ends a turn so
    assert turn == [*VOCABULARY.encode("cats"), VOCABULARY.turn_end]


def test_the_file_of_a_run_is_what_tokenizers_0_19_refuses() -> None:
    with pytest.raises(AssertionError, match="did not match any variant"):
        Reader(VOCABULARY.content())


def test_todays_libraries_and_we_read_the_same_folder(folder: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    ours = Vocabulary.from_file(folder / NAMES[0])
    assert len(theirs) == ours.size == VOCABULARY.size and theirs.model_max_length == POSITIONS
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id, theirs.sep_token_id) == (
        VOCABULARY.bos, 2, VOCABULARY.pad, VOCABULARY.turn_end,
    )  # fmt: skip
    for text in TEXTS:
        ids = VOCABULARY.encode(text)
        assert theirs.encode(text, add_special_tokens=False) == ours.encode(text) == ids
        assert theirs.decode(ids) == ours.decode(ids) == text
    assert (ours.code_ids_N == VOCABULARY.code_ids_N).all() and (ours.text_V == VOCABULARY.text_V).all()


def test_special_tokens_are_added_ones_and_codes_are_not() -> None:
    content = tokenizer_json(VOCABULARY)
    ids, added = content["model"]["vocab"], [token["content"] for token in content["added_tokens"]]
    assert added == sorted((name for name in ids if SPECIAL.fullmatch(name)), key=ids.__getitem__)
    assert code_name(0) in ids and code_name(0) not in added


def test_added_tokens_that_a_vocabulary_has_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / NAMES[0]).read_text(encoding="utf-8"))
    content["added_tokens"][0]["lstrip"] = True
    (tmp_path / "v.json").write_text(json.dumps(content), encoding="utf-8")
    assert tokenizer_json(Vocabulary.from_file(tmp_path / "v.json")) == content


def test_a_merge_with_a_space_is_refused() -> None:
    words = {**VOCABULARY.content()["model"]["vocab"]}
    words |= {word: len(words) + i for i, word in enumerate((" ", "a "))}
    spaced = Vocabulary(Tokenizer(models.BPE(vocab=words, merges=[("a", " ")])))
    with pytest.raises(ValueError, match=r"merges 'a' with ' ', which PURE's tokenizers 0\.19 cannot read"):
        tokenizer_json(spaced)
