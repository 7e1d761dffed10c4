"""From a PURE experiment, and the experiments that it needs, to everything that its training memory depends on.

Knows the length of a sequence as `sequence/assemble.py` builds it, and the vocabulary's file. Knows nothing of memory
(`planning/`); imports no torch.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.dem import LEVELS, DemExperiment
from lit_pure.config.experiment import Experiment
from lit_pure.config.project import locate
from lit_pure.config.pure import GuidanceMode, PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.families.pure.sequence.layout import image_length
from lit_pure.families.pure.sequence.template import INSTRUCTIONS, PERCEIVES, UNDERSTANDS, degradation_sentence
from lit_pure.families.pure.start_check import NO_TOKENIZER
from lit_pure.files.reading import parsed_object, refusing
from lit_pure.planning.restoring import RestoringMemory
from lit_pure.planning.setting import Setting
from lit_pure.runs import folder as runs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PUBLISHED_WORDS = 57_344
"""Ids of the published vocabulary besides image codes; with 16,384 codes it has 73,728."""
CHARACTERS_PER_TOKEN = 3
"""Assumed for text if the vocabulary's file is missing; few tokens are shorter."""


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens: those of a vocabulary, and those of a text."""

    size: int
    """Rows of embedding and head."""
    tokenizer: "Tokenizer | None"
    """None if the file is missing."""

    @classmethod
    def read(cls, path: Path, codes: int) -> "TokenCounter":
        """Read a tokenizer JSON; if it is missing, assume the published vocabulary with `codes` image codes.

        Raises ValueError if the file is not a tokenizer.
        """
        if not path.is_file():
            return cls(PUBLISHED_WORDS + codes, None)
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exceptions
            raise ValueError(f"{path} is not a usable tokenizer JSON: {error}") from error
        return cls(max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1, tokenizer)

    def tokens(self, text: str) -> int:
        """How many tokens a text has."""
        if self.tokenizer is None:
            return -(-len(text) // CHARACTERS_PER_TOKEN)
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)


_vocabulary = cache(TokenCounter.read)  # many settings are tried, with one vocabulary and few needs
Kind = TypeVar("Kind", bound=Experiment)


def measure(experiment: PureExperiment, gpus: int) -> Setting:
    """The setting of an experiment on `gpus` GPUs; `needs` are looked up as a run does it.

    Raises ConfigError if an experiment that it needs is missing or has another family.
    """
    needs = experiment.needs
    if not needs.tokenizer:
        raise ConfigError(NO_TOKENIZER)
    tokenizer = _needed(needs.tokenizer, "needs.tokenizer", TokenizerExperiment)
    dem = _needed(needs.dem, "needs.dem", DemExperiment) if needs.dem else None
    path = locate(experiment.vocabulary.path)
    start = runs.newest_finished(needs.start) if needs.start else None
    frozen = stored_bytes(start.weights) if start else None
    setting = setting_of(experiment, tokenizer, dem, _vocabulary(path, tokenizer.vq.codes), gpus, frozen or 2)
    assumed = f"{path} is missing: words are counted as in the published vocabulary"
    return setting if path.is_file() else replace(setting, notes=(assumed,))


def measure_restoring(experiment: PureExperiment) -> RestoringMemory:
    """What restoring with an experiment's run depends on; `needs` as for `measure`, with its errors.

    Weights that are not here yet are taken to be stored in 2 bytes, as published ones are.
    """
    run = runs.newest_finished(experiment.needs.weights or experiment.name)
    stored = stored_bytes(run.weights) if run else None
    return RestoringMemory(measure(experiment, 1), experiment.restoring.batch, stored or 2)


@cache
def _needed(name: str, key: str, kind: type[Kind]) -> Kind:
    run = runs.newest_finished(name)
    experiment = run.experiment() if run else compose(name)
    if not isinstance(experiment, kind):
        raise ConfigError(f"{key} = {name} is of family {experiment.family}; name another one")
    return experiment


def setting_of(
    experiment: PureExperiment,
    tokenizer: TokenizerExperiment,
    dem: DemExperiment | None,
    vocabulary: TokenCounter,
    gpus: int,
    frozen: int = 2,
) -> Setting:
    """The setting of an experiment on `gpus` GPUs.

    Args:
        experiment: what is trained.
        tokenizer: the experiment of its tokenizer.
        dem: the experiment of its degradation estimator.
        vocabulary: its vocabulary.
        gpus: of all machines together.
        frozen: bytes per element of frozen weights beneath adapters, as the start stored them.
    """
    data, sequence, mode = experiment.data, experiment.sequence, experiment.sequence.guidance_mode
    side = data.size // tokenizer.vq.downsample
    image = image_length(side, side)
    prompt = 1 + vocabulary.tokens(INSTRUCTIONS[mode]) + image + 1
    spoken = _longest_text(mode, sequence.max_caption, vocabulary)
    text = sequence.text_length if sequence.text_length and mode != "none" else spoken
    rest = image + 1  # with the end of the turn
    process = data.degradation
    return Setting(
        backbone=experiment.backbone,
        optim=experiment.optim,
        adapter=experiment.adapter,
        trainer=experiment.trainer,
        sampling=experiment.sampling,
        vq=tokenizer.vq,
        dem=dem.dem if dem else None,
        vocabulary=vocabulary.size,
        size=data.size,
        scale=process.scale,
        enlarged=max(1.0, process.resize_range[1], process.resize_range2[1] / process.scale),
        dem_tile=dem.data.size // dem.data.degradation.scale if dem else data.size,
        image=image,
        prompt=prompt,
        length=prompt + text + rest - 1,  # the last one predicts nothing
        labels=min(spoken + 1, text) + rest,  # of the filler, only the first token is learned, as the end of the text
        batch=data.batch_size,
        shown=min(experiment.evaluation.pictures, data.eval_batch_size),
        tested=data.eval_batch_size if data.test else 0,
        gpus=gpus,
        frozen=frozen,
    )


def stored_bytes(folder: Path) -> int | None:
    """Bytes per element of a run's weights, from the headers of its files; None if it has no such files."""
    for path in sorted(folder.glob("*.safetensors")):
        with refusing(path, "make the run again or name another one"), path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parsed_object(file.read(min(length, path.stat().st_size)).decode())
            kinds = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
            return 4 if "F32" in kinds else 2
    return None


def _longest_text(mode: GuidanceMode, max_caption: int, vocabulary: TokenCounter) -> int:
    """Tokens of the longest answer text: with a caption of the greatest length."""
    sentences = [degradation_sentence(blur, noise) + " " for blur in LEVELS for noise in LEVELS]
    perceived = max(map(vocabulary.tokens, sentences)) if mode in PERCEIVES else 0
    return perceived + (max_caption + 1 if mode in UNDERSTANDS else 0)  # with a space after it
