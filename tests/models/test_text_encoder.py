"""Text encoders: transformers' whole T5 on single captions as oracle, hashes by hand for the stand-in."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from lit_pure.config.text_encoder import TextEncoderConfig
from lit_pure.models import text_encoder
from lit_pure.models.text_encoder import HashedEncoder, T5Encoder, make_text_encoder

CPU = torch.device("cpu")
WORDS = ["a", "red", "cat", "on", "the", "roof", "of", "house"]
CAPTIONS = ["a red cat on the roof of the house", "", "the cat"]
WIDTH = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 with random weights, decoder and head included as in published ones, and a tokenizer of eight words."""
    place = tmp_path_factory.mktemp("t5")
    words = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}, "<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=512, **special).save_pretrained(place)
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "d_model": WIDTH, "d_kv": 8, "num_heads": 2, "d_ff": 32, "num_layers": 2}
    config = T5Config(**sizes, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0)
    T5ForConditionalGeneration(config).save_pretrained(place)
    return place


@pytest.fixture(autouse=True)
def nothing_reported_yet() -> None:
    text_encoder._report_cut.cache_clear()


def t5(folder: Path, **knobs) -> T5Encoder:
    return T5Encoder(TextEncoderConfig(model=str(folder), width=WIDTH, **{"dtype": "float32", **knobs}))


def test_t5_features_are_those_of_the_whole_model_for_each_caption_alone(folder: Path) -> None:
    packed = t5(folder)(CAPTIONS, CPU)
    assert packed.lengths == (10, 1, 3)
    assert packed.tokens_NW.shape == (14, WIDTH) and not packed.tokens_NW.requires_grad
    whole = T5ForConditionalGeneration.from_pretrained(folder).eval()
    ids = {word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    for caption, features_TW in zip(CAPTIONS, packed.split(), strict=True):
        given = torch.tensor([[*(ids[word] for word in caption.split()), 1]])
        with torch.no_grad():
            expected_TW = whole.get_encoder()(input_ids=given).last_hidden_state[0]
        torch.testing.assert_close(features_TW, expected_TW, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_t5_in_half_precision_is_near_and_gives_float32(folder: Path, dtype: str) -> None:
    exact, coarse = t5(folder)(CAPTIONS, CPU), t5(folder, dtype=dtype)(CAPTIONS, CPU)
    assert coarse.tokens_NW.dtype == torch.float32 and coarse.lengths == exact.lengths
    distance = (coarse.tokens_NW - exact.tokens_NW).norm() / exact.tokens_NW.norm()
    assert 0 < distance < 0.03


def test_t5_is_loaded_at_the_first_caption_and_frozen(folder: Path) -> None:
    encoder = t5(folder)
    assert encoder._parts is None
    assert T5Encoder(TextEncoderConfig(model="nowhere/at-all")).width == 2048, "and building it looks for nothing"
    encoder(["a cat"], CPU)
    assert encoder._parts is not None
    _, model = encoder._parts
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())


def test_autocast_of_a_training_changes_no_feature(folder: Path) -> None:
    encoder = t5(folder)
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoder(CAPTIONS, CPU)
    assert torch.equal(inside.tokens_NW, encoder(CAPTIONS, CPU).tokens_NW)


@pytest.mark.parametrize("kind", ["t5", "hashed"])
def test_a_caption_of_2000_words_is_cut_and_reported_once(
    folder: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = make_text_encoder(TextEncoderConfig(kind=kind, model=str(folder), width=WIDTH, dtype="float32"))
    long = " ".join(WORDS[index % 8] for index in range(2000))
    with caplog.at_level(logging.WARNING):
        packed = encoder([long, "a cat", long], CPU)
        encoder([long], CPU)
    assert packed.lengths == (512, 3, 512)
    assert [record.message for record in caplog.records] == [
        "a caption has more than 512 tokens and is cut there; so is every other one, without a word"
    ]
    # The end token is still the last one.
    short = encoder([" ".join(long.split()[:511])], CPU)
    torch.testing.assert_close(short.tokens_NW, packed.split()[0], atol=1e-5, rtol=1e-5)


def test_what_cannot_be_loaded_is_refused_with_a_remedy(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"empty: the text encoder cannot be loaded \(.*\); run `hf download"):
        (tmp_path / "empty").mkdir()
        t5(tmp_path / "empty")(["a"], CPU)
    with pytest.raises(ValueError, match="has features of 16 channels, not 2048; set width"):
        T5Encoder(TextEncoderConfig(model=str(folder), dtype="float32"))(["a"], CPU)


# The stand-in


def hashed(width: int = 8, **knobs) -> HashedEncoder:
    return HashedEncoder(TextEncoderConfig(kind="hashed", width=width, **knobs))


def test_a_word_of_the_stand_in_is_the_bytes_of_its_hash_and_of_its_place() -> None:
    packed = hashed()(["Cat, cat", ""], CPU)
    assert packed.lengths == (4, 1)
    tokens = ["cat", ",", "cat", "</s>", "</s>"]
    for row_W, word, place in zip(packed.tokens_NW, tokens, [0, 1, 2, 3, 0], strict=True):
        halves = [hashlib.shake_256(text.encode()).digest(8) for text in (f"word {word}", f"place {place}")]
        expected = sum(np.frombuffer(half, np.uint8) - 127.5 for half in halves) / 73.9002706 / 2**0.5
        np.testing.assert_allclose(row_W.numpy(), expected, rtol=1e-6)


def test_the_stand_in_is_the_same_everywhere_whatever_else_is_encoded() -> None:
    """Recorded once; no generator, no batch and no Python hash seed has a say."""
    torch.manual_seed(1)
    one = hashed(4)(["a photograph"], CPU)
    two = hashed(4)(["something else", "a photograph"], CPU)
    assert torch.equal(one.tokens_NW, two.split()[1])
    recorded = [[-0.35403, -0.51669, -0.2105, -1.49267]]
    torch.testing.assert_close(one.tokens_NW[1:2], torch.tensor(recorded), atol=1e-5, rtol=0)


def test_numbers_of_the_stand_in_have_mean_0_and_variance_1() -> None:
    features_NW = hashed(512)([" ".join(f"word{index}" for index in range(200))], CPU).tokens_NW
    assert features_NW.mean().item() == pytest.approx(0, abs=0.01)
    assert features_NW.var().item() == pytest.approx(1, abs=0.02)


def test_the_config_chooses_the_encoder() -> None:
    assert isinstance(make_text_encoder(TextEncoderConfig()), T5Encoder)
    assert isinstance(make_text_encoder(TextEncoderConfig(kind="hashed")), HashedEncoder)
    assert dict(TextEncoderConfig(model="").problems()).keys() == {"model"}
    assert not dict(TextEncoderConfig().problems())
