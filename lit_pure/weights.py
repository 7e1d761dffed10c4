"""Weights on disk: safetensors with a config.json beside them.

Knows the three kinds of weights we publish (tokenizer, dem, pure) and how to read and write each, strictly. Knows
nothing of training. No pickle is ever read.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.models import BackboneConfig, DemConfig, VQConfig
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.tokens.vocabulary import Vocabulary
from lit_pure.tokens.vq import VQTokenizer

Config = TypeVar("Config", VQConfig, DemConfig, BackboneConfig)
Model = TypeVar("Model", bound=nn.Module)


def save_tokenizer(folder: Path, model: VQTokenizer) -> None:
    """Write a visual tokenizer."""
    _save(folder, "tokenizer", asdict(model.config), model.state_dict())


def load_tokenizer(folder: Path) -> VQTokenizer:
    """Read a visual tokenizer, frozen. Raises ValueError naming folder and remedy."""
    return _fill(VQTokenizer(_config(folder, "tokenizer", VQConfig)), folder)


def save_dem(folder: Path, model: DegradationEstimator) -> None:
    """Write a degradation estimator with its thresholds."""
    _save(folder, "dem", asdict(model.config), model.state_dict())


def load_dem(folder: Path) -> DegradationEstimator:
    """Read a degradation estimator, frozen. Raises ValueError naming folder and remedy."""
    return _fill(DegradationEstimator(_config(folder, "dem", DemConfig)), folder)


def save_pure(folder: Path, backbone: NextTokenBackbone, vocabulary: Vocabulary) -> None:
    """Write a PURE backbone and its vocabulary."""
    _save(folder, "pure", asdict(backbone.config), backbone.state_dict())
    vocabulary.save(folder / "vocabulary.json")


def load_pure(folder: Path) -> tuple[NextTokenBackbone, Vocabulary]:
    """Read a PURE backbone, frozen, and its vocabulary. Raises ValueError naming folder and remedy."""
    config = _config(folder, "pure", BackboneConfig)
    vocabulary = Vocabulary.from_file(folder / "vocabulary.json")
    return _fill(NextTokenBackbone(config, vocabulary.size), folder), vocabulary


def _save(folder: Path, kind: str, config: dict[str, Any], state: Mapping[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "model.safetensors.partial"
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial)
    partial.chmod(0o644)  # safetensors makes it readable to its owner alone
    partial.replace(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"kind": kind, "config": config}, indent=2) + "\n", encoding="utf-8")


def _config(folder: Path, kind: str, schema: type[Config]) -> Config:
    path = folder / "config.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); make the run again or name another one") from error
    if stored.get("kind") != kind:
        raise ValueError(f"{path} holds weights of kind {stored.get('kind')!r}, not {kind!r}; check `needs:`")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), stored["config"]))
    assert isinstance(config, schema)
    return config


def _fill(model: Model, folder: Path) -> Model:
    """Load strictly, freeze, switch to evaluation."""
    path = folder / "model.safetensors"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read ({error}); make the run again or name another one") from error
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit its config.json: {' '.join(str(error).split())}") from error
    return model.requires_grad_(False).eval()
