"""Words that are given to the model: what perfect perception and understanding would write about each square.

Knows the degradation estimator, and the captions with which our models are trained. Knows nothing of sampling.

Suffixes: 3 RGB, H W HQ picture [px], h w LQ picture [px].
"""

from collections.abc import Callable

from torch import Tensor

from lit_pure.config.pure import PureExperiment
from lit_pure.datasets.captions.describe import describe
from lit_pure.datasets.captions.tags import describe_tagged, tags
from lit_pure.degradation.weights import load_dem
from lit_pure.families.pure.sequence.assemble import AnswerWords
from lit_pure.images.io import from_bytes
from lit_pure.images.tiles import Tile
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


def given_words(run: Run, lq_3hw: Tensor, hq_3HW: Tensor) -> Callable[[Tile], AnswerWords]:
    """For each tile, the levels of its LQ part by the run's estimator, and the caption of its HQ part.

    The caption is that of `captions: tags` where the run was trained with tags, else that of `captions: pixels`.

    Args:
        run: a PURE run.
        lq_3hw: uint8.
        hq_3HW: uint8, with an integer multiple of the LQ size.
    """
    experiment, estimator = run.experiment_as(PureExperiment), runs.require(run.need("dem"))
    known = estimator.experiment().data
    dem = load_dem(estimator.weights)
    size, scale = experiment.data.size, hq_3HW.shape[-1] // lq_3hw.shape[-1]
    calibrated = known.size // known.degradation.scale
    seen = tags(hq_3HW) if experiment.data.train.captions == "tags" else None

    def words(tile: Tile) -> AnswerWords:
        top, left, side = tile.top // scale, tile.left // scale, size // scale
        part_13hw = from_bytes(lq_3hw[None, :, top : top + side, left : left + side])
        [(blur, noise)] = dem.labels(dem.score(part_13hw, calibrated))
        square_3HW = hq_3HW[:, tile.top : tile.top + size, tile.left : tile.left + size]
        return AnswerWords(blur, noise, describe(square_3HW) if seen is None else describe_tagged(seen, square_3HW))

    return words
