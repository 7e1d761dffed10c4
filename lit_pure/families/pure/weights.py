"""PURE's weights on disk: a backbone with its vocabulary, and a restorer made of backbone and tokenizer.

Knows which files belong together. How tensors are written and checked is `models/weights.py`'s.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from lit_pure.config.pure import BackboneConfig, RestorerConfig
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.files.atomic import write_json
from lit_pure.models.adapters import merged_state_dict
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer
from lit_pure.models.weights import REMEDY, load_frozen, load_tokenizer, read_config, read_state, save, save_tokenizer


def save_pure(
    folder: Path,
    backbone: NextTokenBackbone,
    vocabulary: Vocabulary,
    state: Mapping[str, Tensor] | None = None,
    largest: int | None = None,
) -> None:
    """Write a PURE backbone, adapters merged into it, and its vocabulary.

    What computes its attention is a matter of the machine that it runs on, and is not written.

    `state` is the backbone's state dict where that had to be gathered from several processes; `largest` is what a file
    may have [bytes].
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary.save(folder / "vocabulary.json")
    config = {name: value for name, value in asdict(backbone.config).items() if name != "attention"}
    save(folder, "pure", config, merged_state_dict(backbone, state), ["vocabulary.json"], largest)


def load_pure(folder: Path) -> tuple[NextTokenBackbone, Vocabulary]:
    """Read a PURE backbone, frozen, in the dtype it was stored in, and its vocabulary.

    Raises ValueError naming folder and remedy.
    """
    config = read_config(folder, "pure", BackboneConfig)
    vocabulary = Vocabulary.from_file(folder / "vocabulary.json")
    state = read_state(folder)
    rows = len(state.get("embed.weight", vocabulary.text_V))
    if rows != vocabulary.size:
        raise ValueError(
            f"{folder}: the weights have {rows:,} rows, vocabulary.json {vocabulary.size:,} ids: a checkpoint of "
            f"another vocabulary; put the vocabulary.json there that it was trained with, or {REMEDY}"
        )
    return load_frozen(lambda: NextTokenBackbone(config, vocabulary.size), state, folder), vocabulary


def save_restorer(
    folder: Path,
    settings: RestorerConfig,
    tokenizer: VQTokenizer,
    backbone: NextTokenBackbone,
    vocabulary: Vocabulary,
) -> None:
    """Write all that restoring needs: settings in `folder`, weights in two folders below."""
    save_tokenizer(folder / "tokenizer", tokenizer)
    save_pure(folder / "backbone", backbone, vocabulary)
    write_json(folder / "config.json", {"kind": "restorer", "config": asdict(settings)})


def load_restorer(folder: Path) -> tuple[RestorerConfig, VQTokenizer, NextTokenBackbone, Vocabulary]:
    """Read all that restoring needs. Raises ValueError naming folder and remedy."""
    settings = read_settings(folder)
    return settings, load_tokenizer(folder / "tokenizer"), *load_pure(folder / "backbone")


def read_settings(folder: Path) -> RestorerConfig:
    """The settings of a folder that `save_restorer` wrote. Raises ValueError naming folder and remedy."""
    return read_config(folder, "restorer", RestorerConfig)
