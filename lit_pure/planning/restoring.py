"""The memory of restoring photographs with a next-token backbone: what stays, and the highest of what comes and goes.

Knows the moments of a batch of squares, and which settings take less. `pictures.py` and `weights.py` know what each
part takes, `plan.py` what is needed besides tensors. Its formulas are those of CUDA: on a CPU a small backbone is
copied for reading (`models/fused.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lit_pure.planning import pictures, weights
from lit_pure.planning.plan import CONTEXT, FRAGMENTATION
from lit_pure.planning.setting import FLOAT32, Setting

BYTES = {"float32": 4, "bfloat16": 2}
"""Per element of the backbone, by `sampling.dtype`."""
DRAWING = 6
"""Float32 numbers of each code while it is drawn: logits, their logarithms and probabilities, noise, what is left."""


@dataclass(frozen=True)
class RestoringMemory:
    """The memory of one process that restores [bytes]."""

    setting: Setting
    squares: int
    """Drawn at once."""
    stored: int
    """Bytes per element of the weights as they are stored."""

    @property
    def number(self) -> int:
        """Bytes per element of the backbone and its caches."""
        return BYTES.get(self.setting.sampling.dtype, self.stored)

    @property
    def moments(self) -> dict[str, dict[str, float]]:
        """Moment -> part -> bytes, without the reserve.

        At the prompt, what is made right after it counts too: CUDA's allocator may keep the memory of the passes.
        """
        setting, codes = self.setting, self.setting.vq.codes
        known = self._weights | {"keys and values": pictures.caches(setting, self.squares, self.number)}
        known["head of the codes"] = float(codes * setting.backbone.width * self.number)
        return {
            "encoding": self._weights | {"pictures": pictures.coding(setting, self.squares)},
            "prompt": known | {"a block's passes": pictures.prefill(setting, self.squares, self.number)},
            "drawing": known | {"logits": float(self.squares * codes * DRAWING * FLOAT32)},
            "rendering": self._weights | {"pictures": pictures.coding(setting, self.squares)},
        }

    @property
    def _weights(self) -> dict[str, float]:
        setting = self.setting
        blocks = setting.backbone.layers * weights.numel(weights.block_tensors(setting))
        tables = 2 * setting.vocabulary * setting.backbone.width
        rounded = 1 if setting.sampling.quantize != "none" else self.number
        tokenizer = pictures.tokenizer_weights(setting.vq) * FLOAT32
        return {"backbone": float(blocks * rounded + tables * self.number), "tokenizer": float(tokenizer)}

    def total(self, moment: str) -> float:
        """What a device needs at a moment, with CUDA's own part and what fragmentation wastes."""
        return CONTEXT + (1 + FRAGMENTATION) * sum(self.moments[moment].values())

    @property
    def peak_moment(self) -> str:
        """The moment that takes the most."""
        return max(self.moments, key=self.total)

    @property
    def peak(self) -> float:
        """What a device needs."""
        return self.total(self.peak_moment)


@dataclass(frozen=True)
class Saving:
    """Settings that take less memory."""

    words: str
    overrides: tuple[str, ...]
    """What to type behind --set, or behind the experiment's name."""
    peak: float
    """What a device needs then [bytes]."""


def savings(measure: Callable[[tuple[str, ...]], RestoringMemory], room: float) -> Iterator[Saving]:
    """Settings with which restoring takes less, each alone and then together until it fits into `room` bytes."""
    now, together = measure(()), []
    sampling = now.setting.sampling
    for words, override, helps in (
        ("one square at a time", "restoring.batch=1", now.squares > 1),
        ("bfloat16", "sampling.dtype=bfloat16", now.number > BYTES["bfloat16"]),
        ("weights of the blocks in 8 bits", "sampling.quantize=int8", sampling.quantize == "none"),
        ("without guidance, other pictures", "sampling.guidance=1", sampling.guidance != 1),
    ):
        if not helps:
            continue
        yield Saving(words, (override,), measure((override,)).peak)
        together.append(override)
        if len(together) > 1:
            found = Saving("all so far", tuple(together), measure(tuple(together)).peak)
            yield found
            if found.peak <= room:
                return
