"""Makes a vocabulary: byte-level BPE words learned from captions, PURE's special tokens, and image codes.

Knows how to build such a tokenizer JSON. Knows nothing of its use (`vocabulary.py`). Special tokens are plain entries
of the table that text is never matched with, so no caption can spell one.
"""

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lit_pure.families.pure.sequence.vocabulary import (
    BOS,
    EOS,
    IMAGE_END,
    IMAGE_START,
    NEWLINE,
    PAD,
    TURN_END,
    UNKNOWN,
    Vocabulary,
    code_name,
    size_name,
)


def make_vocabulary(texts: Iterable[str], codes: int, words: int, size_units: int = 64) -> Vocabulary:
    """A vocabulary with `codes` image codes, sides up to `size_units` x 32 px and about `words` BPE words (>= 256).

    The order is the official one (special tokens, codes, end, start, then the rest): ids of the codes begin at 4.
    """
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=words, initial_alphabet=alphabet, show_progress=False)
    )
    learned = json.loads(trained.to_str())["model"]
    names = [BOS, PAD, EOS, UNKNOWN, *map(code_name, range(codes)), IMAGE_END, IMAGE_START, TURN_END, NEWLINE]
    names += [size_name(units) for units in range(1, size_units + 1)]
    names += sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    merges = [tuple(pair) for pair in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return Vocabulary(tokenizer)
