"""The models and data that `bench train` trains; each call makes the same again.

Knows two subjects: an experiment on photographs as `lit-pure run` trains it, and a backbone of any size on sequences of
random codes. Knows nothing of how they are trained.

Shape legend: B batch, h w grid of codes, V words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lit_pure.bench.presets import ROWS
from lit_pure.config.compose import compose_as
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment, VQConfig
from lit_pure.datasets.order import Key, Stream
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import Assembler, Sample
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.families.pure.sequence.template import INSTRUCTIONS
from lit_pure.lit.data import PhotoDataModule
from lit_pure.lit.modules import build_module
from lit_pure.lit.pure import ARModule
from lit_pure.models import weights
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

CAPTION = " ".join(["a photograph of a street with old houses, trees and a few people in soft light,"] * 4)
"""The caption of every sequence of random codes: with it, one of 512 px has 8,445 ids, about as many as the paper's."""
SAMPLES = 64
"""Number of different sequences of random codes."""


@dataclass(frozen=True)
class TrainSubject:
    """A model that is not shared, and its data."""

    module: ARModule
    data: LightningDataModule


def on_photographs(experiment: PureExperiment, folder: Path) -> Callable[[], TrainSubject]:
    """The experiment with an untrained visual tokenizer, which does not change the speed.

    `folder`: for the weights of that tokenizer. Raises MissingRun if the degradation estimator is missing.
    """
    needs = {"tokenizer": _untrained(experiment, folder)}
    if experiment.needs.dem:
        needs["dem"] = runs.require(experiment.needs.dem)

    def make() -> TrainSubject:
        module, transform = build_module(experiment, needs)
        assert isinstance(module, ARModule)
        return TrainSubject(module, PhotoDataModule(experiment.data, experiment.seed, transform))

    return make


def _untrained(experiment: PureExperiment, folder: Path) -> Run:
    """A run with random weights of the tokenizer that the experiment needs, and nothing else."""
    known = compose_as(TokenizerExperiment, runs.experiment_of(experiment.needs.tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        weights.save_tokenizer(Run(folder).weights, VQTokenizer(known.vq))
    return Run(folder)


def on_random_codes(experiment: PureExperiment, device: torch.device) -> Callable[[], TrainSubject]:
    """A new backbone on the device, and sequences of random codes as long as those of the experiment's pictures."""

    def make() -> TrainSubject:
        torch.manual_seed(experiment.seed)
        vocabulary = make_vocabulary([CAPTION, *INSTRUCTIONS.values()], VQConfig().codes, words=512)
        # It encodes nothing, and is small to save memory.
        tokenizer = VQTokenizer(VQConfig(channels=[32, 32, 32, 32], attention=False))
        with device:
            backbone = NextTokenBackbone(experiment.backbone, ROWS)
        sequence, data = experiment.sequence, experiment.data
        assembler = Assembler(
            vocabulary, sequence.guidance_mode, tokenizer.downsample, sequence.max_caption, sequence.text_length
        )
        restorer = Restorer(
            tokenizer, backbone, assembler, experiment.sampling, data.size, data.degradation.scale, experiment.restoring
        )
        return TrainSubject(CodesModule(experiment, restorer), CodesDataModule(experiment, tokenizer.downsample))

    return make


class CodesModule(ARModule):
    """Trains on batches of codes."""

    def samples(self, batch: Any) -> list[Sample]:
        """Samples with small degradations, and all with the same caption."""
        pairs = zip(batch["lq_codes_Bhw"].cpu(), batch["hq_codes_Bhw"].cpu(), strict=True)
        return [Sample(lq_codes_hw, hq_codes_hw, "small", "small", CAPTION) for lq_codes_hw, hq_codes_hw in pairs]


class RandomCodes(Dataset[dict[str, Any]]):
    """Pairs of pictures that consist of random codes."""

    def __init__(self, codes: int, side: int, seed: int) -> None:
        """`side`: codes along a side."""
        generator = torch.Generator().manual_seed(seed)
        self.codes_N2hw = torch.randint(codes, (SAMPLES, 2, side, side), generator=generator)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key
        lq_codes_hw, hq_codes_hw = self.codes_N2hw[index]
        codes: dict[str, Tensor] = {"lq_codes_Bhw": lq_codes_hw, "hq_codes_Bhw": hq_codes_hw}
        return {**codes, "name": str(index), "epoch": epoch, "index": index}


class CodesDataModule(LightningDataModule):
    """An endless stream of `RandomCodes`."""

    def __init__(self, experiment: PureExperiment, downsample: int) -> None:
        super().__init__()
        self.config, self.seed = experiment.data, experiment.seed
        self.train = RandomCodes(VQConfig().codes, experiment.data.size // downsample, experiment.seed)

    def train_dataloader(self) -> DataLoader[Any]:
        """An endless stream."""
        return DataLoader(self.train, self.config.batch_size, sampler=Stream(len(self.train), self.seed))
