"""Ids: the published names and numbers of PURE's 73,728-word layout, and the nano layout, in one class."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torchvision.models import EfficientNet_B0_Weights

from lit_pure.config.compose import PROJECT
from lit_pure.datasets.captions.source import Sidecar
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.families.pure.sequence.vocabulary import Vocabulary, code_name, size_name

NANO = PROJECT / "data" / "vocabulary" / "nano.json"


def official_layout() -> Vocabulary:
    """The official ids: two halves of image codes, reserved names at number + 4."""
    names = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<eoss>": 8196, "<racm3:break>": 8197}
    names |= {code_name(code): 4 + code if code < 8192 else 65536 + code - 8192 for code in range(16384)}
    names |= {f"<reserved{number:05d}>": number + 4 for number in range(8194, 9000)}
    words = sorted(set(range(65536)) - set(names.values()))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names |= {letters[i] if i < len(letters) else f"w{i}": token for i, token in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=names, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return Vocabulary(tokenizer)


def test_names_of_codes_are_the_published_ones() -> None:
    expected = {0: "IMGIMGAZ", 8191: "IMGIMGIBJBZ", 8192: "IMGIMGIBJCZ", 16383: "IMGIMGBGDIDZ"}
    assert {code: code_name(code) for code in expected} == expected
    assert size_name(16) == "<reserved08816>"


def test_the_official_layout_has_the_published_ids() -> None:
    vocabulary = official_layout()
    assert (vocabulary.size, vocabulary.codes) == (73728, 16384)
    assert (vocabulary.bos, vocabulary.pad) == (0, 1)
    assert (vocabulary.image_start, vocabulary.image_end) == (8197, 8196)
    assert (vocabulary.turn_end, vocabulary.newline, vocabulary.size_id(16)) == (8710, 8803, 8820)
    assert vocabulary.code_ids_N[[0, 8191, 8192, 16383]].tolist() == [4, 8195, 65536, 73727]
    assert vocabulary.size_units(8820) == 16


def test_the_two_tables_are_inverse() -> None:
    vocabulary = official_layout()
    assert torch.equal(vocabulary.id_codes_V[vocabulary.code_ids_N], torch.arange(16384))
    assert int((vocabulary.id_codes_V >= 0).sum()) == 16384
    assert not bool((vocabulary.text_V & (vocabulary.id_codes_V >= 0)).any())


@pytest.mark.parametrize("text", ["Medium blur, small noise. ", "Größe 4 µm — 東京 \n\t", "<s> IMGIMGAZ <racm3:break>"])
def test_any_text_survives_and_spells_no_special_token(text: str) -> None:
    vocabulary = Vocabulary.from_file(NANO)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert bool(vocabulary.text_V[ids].all())


def test_the_vocabulary_of_tags_spells_every_class_name_in_few_pieces() -> None:
    nano, tags = (Vocabulary.from_file(PROJECT / f"data/vocabulary/{name}.json") for name in ("nano", "tags"))
    assert tags.codes == nano.codes and torch.equal(tags.code_ids_N, nano.code_ids_N)
    assert tags.size < 1.1 * nano.size, "a small model has no room for many words"
    ours, theirs, letters = 0, 0, 0
    for name in EfficientNet_B0_Weights.DEFAULT.meta["categories"]:
        ids = tags.encode(f" {name}")
        assert tags.decode(ids) == f" {name}"
        ours, theirs, letters = ours + len(ids), theirs + len(nano.encode(f" {name}")), letters + len(name) + 1
    assert ours < 0.7 * theirs and ours < letters / 2
    captions = Sidecar(PROJECT / "data/captions/tags.jsonl").captions.values()
    assert len(captions) == 700 and max(len(tags.encode(caption)) for caption in captions) <= 40


def test_a_vocabulary_is_written_and_read(tmp_path: Path) -> None:
    made = make_vocabulary(["a bright picture of a cat"] * 3, codes=10, words=300)
    made.save(tmp_path / "v.json")
    read = Vocabulary.from_file(tmp_path / "v.json")
    assert (read.size, read.codes) == (made.size, 10)
    assert read.encode("bright cat") == made.encode("bright cat")
    assert len(read.encode("bright")) < len("bright")


def test_errors_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no vocabulary at .*lit-pure vocabulary"):
        Vocabulary.from_file(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="bad.json is not a usable tokenizer JSON"):
        Vocabulary.from_file(tmp_path / "bad.json")
    with pytest.raises(ValueError, match="no token for a side of 1000 x 32 px"):
        Vocabulary.from_file(NANO).size_id(1000)
    with pytest.raises(ValueError, match="lacks <s>"):
        Vocabulary(Tokenizer(models.BPE(vocab={code_name(0): 0}, merges=[])))
    names = [
        "<s>",
        "<pad>",
        "<eoss>",
        "<racm3:break>",
        "<reserved08706>",
        "<reserved08799>",
        code_name(0),
        code_name(2),
    ]
    with pytest.raises(ValueError, match="without a gap"):
        Vocabulary(Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[])))
