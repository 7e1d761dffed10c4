"""One photograph on its way through a run's model: its degradation, and the model's prompt and answer.

Knows how to make exactly the LQ picture of a run's test, and how to decode a model's answer. Knows no figures.

Shape legend: B = 1 picture, 3 RGB, H W HQ [px], h w LQ [px] or grid of codes, s side of the model's square [px].
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.dem import Level
from lit_pure.config.experiment import Experiment
from lit_pure.config.pure import SamplingConfig
from lit_pure.datasets.order import DEGRADATION_DRAW
from lit_pure.datasets.photos import Crops
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.degradation.numbers import Degradation
from lit_pure.degradation.pipeline import apply, draw
from lit_pure.degradation.weights import load_dem
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sampling.decode import Decoded
from lit_pure.families.table import require_restoring, restorer_of
from lit_pure.images.geometry import resize
from lit_pure.images.io import BadImage, from_bytes, read_image
from lit_pure.lit.data import Batch, generators
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


@dataclass(frozen=True)
class DegradationEstimate:
    """A degradation estimator's scores and levels of a picture."""

    source: str
    """The run of the estimator."""
    scores: tuple[float, float]
    """Blur and noise, [0, 1]; higher is worse."""
    thresholds: tuple[tuple[float, float], tuple[float, float]]
    """For blur and for noise: between small and medium, between medium and large."""
    levels: tuple[Level, Level]


@dataclass(frozen=True)
class Subject:
    """A photograph, and the model that restores it."""

    name: str
    """Decides the noise of the decoding, as in the run's test."""
    run: Run
    restorer: Restorer
    lq_3hw: Tensor
    hq_3HW: Tensor | None
    """None if an LQ picture was given."""
    degradation: Degradation | None
    """None if the LQ picture was given."""
    scale: int
    caption: str
    """From the caption source; empty if there is none."""
    estimate: DegradationEstimate | None
    """None if the run was made without an estimator."""


@dataclass(frozen=True)
class Answer:
    """The model's answer to a picture, with one way of decoding."""

    sampling: SamplingConfig
    decoded: Decoded
    image_3ss: Tensor
    lq_codes_hw: Tensor
    highest_entropy: float
    """That of a code that may as well be any other: ln of their number [nats]."""

    @property
    def codes_hw(self) -> Tensor:
        """The codes of the restored picture."""
        return self.decoded.codes_Bhw[0]

    @property
    def entropy_hw(self) -> Tensor:
        """The entropy of the distribution from which each code was drawn [nats]."""
        return self.decoded.entropy_Bhw[0]


def picture_names(run: Run) -> list[str]:
    """The pictures of a run's test sets, as SET/IMAGE."""
    experiment = run.experiment()
    return [f"{name}/{image}" for name in sorted(experiment.data.test) for image in _names(_crops(experiment, name))]


def open_test_picture(run: Run, name: str = "") -> Subject:
    """A picture of a run's test, degraded exactly as in the test (on the same kind of device).

    Args:
        run: of the pure family.
        name: SET/IMAGE, one of `picture_names`; empty: the first.

    Raises:
        ValueError: there is no such picture, its photograph cannot be read, or the run restores nothing.
    """
    experiment = run.experiment()
    known = picture_names(run)
    name = name or known[0]
    if name not in known:
        raise ValueError(f"{run.label} has no test picture {name}; there are {', '.join(known[:8])} ...")
    test_set, _, image = name.partition("/")
    crops = _crops(experiment, test_set)
    item = crops[0, _names(crops).index(image)]
    hq_3HW = from_bytes(item["hq_3HW"]) if "hq_3HW" in item else None
    if "lq_3hw" in item:
        return _subject(run, item["name"], from_bytes(item["lq_3hw"]), hq_3HW, None, item["caption"])
    assert hq_3HW is not None
    key: Batch = {"epoch": torch.tensor([item["epoch"]]), "index": torch.tensor([item["index"]])}
    [rng] = generators(experiment.seed, key, DEGRADATION_DRAW)
    degradation = draw(experiment.data.degradation, rng)
    lq_3hw = apply(hq_3HW, degradation, experiment.data.degradation.scale)
    return _subject(run, item["name"], lq_3hw, hq_3HW, degradation, item["caption"])


def open_file(run: Run, path: Path, degrade: bool = False, seed: int = 0) -> Subject:
    """The middle square of a picture file.

    Args:
        run: of the pure family.
        path: of the picture.
        degrade: whether to take it as an HQ picture and degrade it; otherwise it is the LQ picture.
        seed: of the degradation.

    Raises:
        ValueError: it is too small or not a picture (BadImage), or the run restores nothing.
    """
    data = run.experiment().data
    process = data.degradation
    side = data.size if degrade else data.size // process.scale
    photo_3HW = read_image(path)
    height, width = photo_3HW.shape[-2:]
    if min(height, width) < side:
        raise BadImage(f"{path}: {height} x {width} px is too small; it must have a square of {side} px")
    top, left = (height - side) // 2, (width - side) // 2
    square_3HW = photo_3HW[:, top : top + side, left : left + side]
    if not degrade:
        return _subject(run, path.name, square_3HW, None, None, "")
    [rng] = generators(seed, {"epoch": torch.tensor([0]), "index": torch.tensor([0])}, DEGRADATION_DRAW)
    degradation = draw(process, rng)
    return _subject(run, path.name, apply(square_3HW, degradation, process.scale), square_3HW, degradation, "")


def decode(subject: Subject, sampling: SamplingConfig | None = None) -> Answer:
    """Decode the model's answer. Without `sampling`, as the run does; dtype and quantization are always the run's."""
    own = subject.restorer
    sampling = replace(sampling or own.sampling, dtype=own.sampling.dtype, quantize=own.sampling.quantize)
    restorer = Restorer(own.tokenizer, own.backbone, own.assembler, sampling, own.size, own.scale, own.restoring)
    device = next(own.backbone.parameters()).device
    with torch.inference_mode():
        enlarged_B3ss = resize(subject.lq_3hw[None].to(device), own.size, own.size)
        lq_codes_Bhw = own.tokenizer.encode(enlarged_B3ss)
        decoded = restorer.answer(lq_codes_Bhw, [subject.name])
        [restored] = restorer.restorations(enlarged_B3ss, decoded, own.restoring.color_fix)
    highest = math.log(own.tokenizer.config.codes)
    return Answer(sampling, decoded, restored.image_3HW.clamp(0, 1).cpu(), lq_codes_Bhw[0], highest)


def _subject(
    run: Run, name: str, lq_3hw: Tensor, hq_3HW: Tensor | None, degradation: Degradation | None, caption: str
) -> Subject:
    experiment, restorer = require_restoring(run), restorer_of(run)
    if not isinstance(restorer, Restorer):
        raise ValueError(f"{run.label} is of family {experiment.family}, whose answers are not tokens; name a pure one")
    if torch.accelerator.is_available():
        restorer = restorer.to(torch.accelerator.current_accelerator() or torch.device("cpu"))
    scale = experiment.data.degradation.scale
    return Subject(name, run, restorer, lq_3hw, hq_3HW, degradation, scale, caption, _estimate_degradation(run, lq_3hw))


def _estimate_degradation(run: Run, lq_3hw: Tensor) -> DegradationEstimate | None:
    """The scores and levels of the estimator with which the run was made."""
    name = run.recorded_needs().get("dem")
    if name is None:
        return None
    source = runs.require(name)
    known = source.experiment().data
    dem: DegradationEstimator = load_dem(source.weights)
    scores_B2 = dem.score(lq_3hw[None], known.size // known.degradation.scale)
    [levels] = dem.labels(scores_B2)
    (blur, noise), (low, high) = scores_B2[0].tolist(), dem.thresholds_22.tolist()
    return DegradationEstimate(source.label, (blur, noise), (tuple(low), tuple(high)), levels)


def _crops(experiment: Experiment, test_set: str) -> Crops:
    data = experiment.data
    return Crops(data.test[test_set], data.size, experiment.seed, training=False, scale=data.degradation.scale)


def _names(crops: Crops) -> list[str]:
    """Names of the items, without reading them."""
    several = crops.crops > 1
    return [
        pair.photo.label + (f"_c{crop}" if several else "") for pair in crops.pairs.found for crop in range(crops.crops)
    ]
