"""Memory for pictures: degradation, the estimator's scores, encoding, and decoding of restored pictures.

Derived from `degradation/`, `models/vq.py` and `families/pure/sampling/`, in float32 as there. Knows sides and
channels. Knows nothing of training.
"""

from itertools import pairwise
from math import ceil

from lit_pure.config.dem import DemConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.planning.setting import FLOAT32, Setting

ENLARGED = 9
"""Pictures of the largest intermediate size that a degradation has in memory at its peak, as measured."""
TILES_AT_ONCE = 64
"""As in `degradation/dem.py`."""
LOOK_EVERY = 8
"""As in `families/pure/sampling/decode.py`."""


def degrading(setting: Setting) -> float:
    """Degradation of one picture; pictures are degraded one after the other [bytes]."""
    return ENLARGED * 3 * (setting.size * setting.enlarged) ** 2 * FLOAT32


def scoring(setting: Setting) -> float:
    """The estimator on tiles of the micro-batch's LQ pictures [bytes]: five activations of a block at a time."""
    if setting.dem is None:
        return 0.0
    side = setting.size // setting.scale
    tile = min(setting.dem_tile, side)
    tiles = min(ceil(side / tile) ** 2, max(1, TILES_AT_ONCE // setting.batch)) * setting.batch
    highest = 0
    for width, stride in zip(setting.dem.features, setting.dem.downscales, strict=True):
        highest = max(highest, 5 * width * tile**2)
        tile = ceil(tile / stride)
    return float(tiles * highest * FLOAT32)


def encoding(setting: Setting) -> float:
    """The tokenizer on LQ and HQ of a micro-batch [bytes]: its widest residual block, or similarities to all codes."""
    return coding(setting, 2 * setting.batch)


def coding(setting: Setting, pictures: int) -> float:
    """The tokenizer on so many pictures, one way or the other [bytes]; its decoder has the same widths."""
    vq = setting.vq
    side, highest = setting.size // vq.stem, 0
    for before, width in pairwise([vq.channels[0], *vq.channels]):
        # Input, first convolution, its norm, swish or second convolution, and the work space of the latter.
        highest = max(highest, (before + 4 * width) * side**2)
        side //= 2
    cells = (setting.size // vq.downsample) ** 2
    highest = max(highest, cells * (vq.codes + 2 * vq.code_dim))
    pixels = 3 * setting.size**2
    return float(pictures * (highest + 3 * pixels) * FLOAT32)


def frozen_networks(setting: Setting) -> float:
    """Weights of the frozen tokenizer and estimator [bytes]."""
    return float((tokenizer_weights(setting.vq) + dem_weights(setting.dem)) * FLOAT32)


def decoding(setting: Setting, pictures: int, number: int) -> float:
    """KV caches, prompts and code rows while `pictures` pictures are decoded [bytes], at `number` bytes per element."""
    if not pictures:
        return 0.0
    rows = float(setting.vq.codes * setting.backbone.width * number)
    return caches(setting, pictures, number) + prefill(setting, pictures, number) + rows


def caches(setting: Setting, pictures: int, number: int) -> float:
    """Keys and values of both branches [bytes]."""
    config, sampling = setting.backbone, setting.sampling
    lengths = [setting.prompt + sampling.max_text + LOOK_EVERY + setting.image + sampling.window]
    lengths += [setting.image + sampling.window] if sampling.guidance != 1 else []
    return float(pictures * sum(lengths) * 2 * config.layers * config.width * number)


def prefill(setting: Setting, pictures: int, number: int) -> float:
    """A block on all prompts [bytes]: while queries and keys are rotated, or in the feed-forward part."""
    config = setting.backbone
    feeding = (3 * config.ffn + 3 * config.width) * number
    # Stream, norm, q, k and v, normalised q and k; and in float32 twice a product with cosines or sines, and their sum.
    rotating = 7 * config.width * number + 6 * config.width * FLOAT32
    angles = 2 * config.width // config.heads * FLOAT32
    return float(pictures * setting.prompt * (max(feeding, rotating) + angles))


def tokenizer_weights(config: VQConfig) -> int:
    """Parameters of a visual tokenizer."""
    first, last = config.channels[0], config.channels[-1]
    folded = 3 * config.stem**2
    total = 0
    for decoder in (False, True):
        total += _convolution(config.z_channels, last) if decoder else _convolution(folded, first)
        total += _convolution(first, folded) if decoder else _convolution(last, config.z_channels)
        total += 2 * (first if decoder else last)  # the norm before it
        total += 2 * _residual(last, last) + (_attention(last) if config.attention else 0)
        widths = config.channels[::-1] if decoder else config.channels
        blocks = config.res_blocks + decoder
        for level, (before, width) in enumerate(pairwise([widths[0], *widths])):
            total += _residual(before, width) + (blocks - 1) * _residual(width, width)
            deepest = level == (0 if decoder else len(widths) - 1)
            total += blocks * _attention(width) if deepest and config.attention else 0
            total += _convolution(width, width) if level < len(widths) - 1 else 0
    ends = _convolution(config.z_channels, config.code_dim, 1) + _convolution(config.code_dim, config.z_channels, 1)
    return total + ends + config.codes * config.code_dim


def dem_weights(config: DemConfig | None) -> int:
    """Parameters of both networks of a degradation estimator."""
    if config is None:
        return 0
    hidden = 512
    total = _convolution(3, config.features[0])
    following = [*config.features[1:], config.features[-1]]
    for width, after, blocks, stride in zip(config.features, following, config.blocks, config.downscales, strict=True):
        total += 2 * blocks * _convolution(width, width)
        total += _convolution(width, after) if stride > 1 or width != after else 0
    return 2 * (total + (config.features[-1] + 1) * hidden + hidden + 1)


def _convolution(inputs: int, outputs: int, side: int = 3) -> int:
    return (inputs * side**2 + 1) * outputs


def _residual(inputs: int, outputs: int) -> int:
    shortcut = _convolution(inputs, outputs, 1) if inputs != outputs else 0
    return 2 * (inputs + outputs) + _convolution(inputs, outputs) + _convolution(outputs, outputs) + shortcut


def _attention(channels: int) -> int:
    return 2 * channels + 4 * _convolution(channels, channels, 1)
