"""The memory of one process, by part, at each moment of a training at which it may be at its height.

Knows which parts stand at which moment. What a part takes is up to `weights.py`, `blocks.py`, `head.py` and
`pictures.py`; which settings would take less, up to `remedies.py`.

Assumed beside the formulas: CUDA's context, libraries and buffers of communication take `CONTEXT`, and a share of
`FRAGMENTATION` of all else is lost between tensors. 1 GB is 10^9 bytes, and a device has as many of them as its name
says; it has some more. What `trainer.compile` saves is not counted.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from lit_pure.planning import blocks, head, pictures, weights
from lit_pure.planning.setting import FLOAT32, Setting

GB = 1e9
CONTEXT = 1.5 * GB
"""CUDA's context with loaded kernels, work spaces of cuBLAS and cuDNN, buffers of NCCL."""
FRAGMENTATION = 0.05
"""Of all tensors."""
MOST = 4096
"""Samples in the largest micro-batch that is looked for."""

DECODING = ("validation", "test")
"""Moments at which pictures are decoded; the size of the micro-batch does not matter to them."""
PARTS = (
    "parameters", "gradients", "AdamW's moments", "moving average", "tokenizer and estimator", "gathered pieces",
    "activations", "a block's passes", "loss and head", "AdamW's step", "pictures on the way", "decoding", "reserve",
)  # fmt: skip
"""All there are, in the order in which they are shown."""


@dataclass(frozen=True)
class Memory:
    """The memory of a process with this setting [bytes]."""

    setting: Setting

    @cached_property
    def moments(self) -> dict[str, dict[str, float]]:
        """Moment -> part -> bytes, without the reserve."""
        made = {
            "pictures": self._preparing(),
            "forward": self._forward(),
            "loss": self._loss(),
            "backward, last block": self._backward_begins(),
            "backward, first block": self._backward_ends(),
            "update": self._standing | {"gradients": self._gradients, "AdamW's step": weights.update(self.setting)},
            "validation": self._validation(),
            "test": self._test(),
        }
        return {name: parts for name, parts in made.items() if parts}

    def height(self, decodes: bool) -> str:
        """The moment that takes the most, of those that decode pictures or of the others; "" where there are none."""
        found = [name for name in self.moments if (name in DECODING) == decodes]
        return max(found, key=lambda name: self.total(name)) if found else ""

    def total(self, moment: str) -> float:
        """What a device must have at a moment; at "" nothing."""
        parts = self.moments.get(moment)
        return sum(parts.values()) + self.reserve(moment) if parts else 0.0

    @property
    def training(self) -> float:
        """What a training step takes at its height."""
        return self.total(self.height(decodes=False))

    @property
    def decoding(self) -> float:
        """What decoding takes, in validation or test."""
        return self.total(self.height(decodes=True))

    @property
    def most(self) -> float:
        """What a device must have."""
        return max(self.training, self.decoding)

    @property
    def loss_and_head(self) -> float:
        """Loss and head of one sample in float32, beside the head's weights, their gradient, and what goes in.

        All positions count, learned or not.
        """
        config, setting = self.setting.backbone, self.setting
        return head.products(setting.length, setting.vocabulary, config.width, config.loss_chunk)

    def reserve(self, moment: str) -> float:
        """What is not tensors at a moment."""
        return CONTEXT + FRAGMENTATION * sum(self.moments[moment].values())

    def largest(self, room: float, most: int = MOST) -> int:
        """The largest micro-batch, at most `most`, whose steps fit into `room` bytes; 0 where not one sample does."""

        def fits(batch: int) -> bool:
            return Memory(replace(self.setting, batch=batch)).training <= room

        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return low

    @cached_property
    def _standing(self) -> dict[str, float]:
        """What stands all the time."""
        setting = self.setting
        return {
            "parameters": weights.parameters(setting),
            "AdamW's moments": weights.moments(setting),
            "moving average": weights.average(setting),
            "tokenizer and estimator": pictures.networks(setting),
        }

    @cached_property
    def _gradients(self) -> float:
        """Those of a step stand until the next forward pass is done."""
        return weights.gradients(self.setting)

    @cached_property
    def _activations(self) -> float:
        """What all blocks keep."""
        setting = self.setting
        return setting.backbone.layers * blocks.kept_again(setting) * setting.positions

    def _preparing(self) -> dict[str, float]:
        steps = (pictures.degrading, pictures.scoring, pictures.encoding)
        on_the_way = max(step(self.setting) for step in steps)
        return self._standing | {"gradients": self._gradients, "pictures on the way": on_the_way}

    def _forward(self) -> dict[str, float]:
        setting = self.setting
        layers = setting.backbone.layers
        parts = self._standing | {"gradients": self._gradients, "activations": self._activations}
        parts["gathered pieces"] = weights.gathered(setting) + weights.copies(setting, layers)
        if setting.trainer.activation_checkpointing != "none":
            parts["a block's passes"] = blocks.forward(setting) * setting.positions
        return parts

    def _loss(self) -> dict[str, float]:
        setting = self.setting
        last = blocks.norm(setting) * setting.positions
        parts = self._standing | {"gradients": self._gradients, "activations": self._activations + last}
        parts["gathered pieces"] = weights.gathered_table(setting) + weights.copies(setting, setting.backbone.layers)
        parts["loss and head"] = head.loss(setting) + head.weights(setting)
        return parts

    def _backward_begins(self) -> dict[str, float]:
        setting = self.setting
        again = 1 if setting.trainer.activation_checkpointing != "none" else setting.backbone.layers
        parts = self._standing | {"activations": self._activations}
        parts["gradients"] = self._gradients_so_far({weights.table(setting): 1})
        parts["gathered pieces"] = (
            weights.gathered(setting) + weights.reduced(setting, 1) + weights.copies(setting, again)
        )
        # The last norm goes back before the last block does.
        composed = 4 * FLOAT32 * setting.backbone.width if not setting.kernels.fused_norm else 0.0
        passes = max(blocks.backward(setting), blocks.norm(setting) + composed)
        parts["a block's passes"] = passes * setting.positions
        return parts

    def _backward_ends(self) -> dict[str, float]:
        setting = self.setting
        layers = setting.backbone.layers
        before = {shape: times * (layers - 1) for shape, times in weights.block(setting).items()}
        parts = self._standing | {"gradients": self._gradients_so_far(before | {weights.table(setting): 1})}
        parts["gathered pieces"] = (
            weights.gathered(setting)
            + weights.gathered_table(setting)
            + weights.reduced(setting, 1)
            + weights.copies(setting, 1)
        )
        parts["activations"] = blocks.kept_again(setting) * setting.positions
        parts["a block's passes"] = blocks.backward(setting) * setting.positions
        return parts

    def _gradients_so_far(self, tensors: weights.Tensors) -> float:
        """Gradients where these have come into being; all of them where they are added to those of a batch before.

        Of pieces and adapters all are counted, which is not much more.
        """
        setting = self.setting
        if setting.trainer.accumulate > 1 or setting.sharded or setting.adapted:
            return self._gradients
        buckets = self._gradients / 2 if setting.replicated else 0.0
        return weights.count(tensors) * setting.numbers.stored + buckets

    def _validation(self) -> dict[str, float]:
        parts = self._standing | {"gradients": self._gradients, "gathered pieces": weights.whole(self.setting)}
        return parts | {"decoding": pictures.decoding(self.setting, self.setting.shown, self._decoded)}

    def _test(self) -> dict[str, float]:
        """After the training, whose optimizer is gone."""
        setting = self.setting
        if not setting.tested:
            return {}
        stay = {name: self._standing[name] for name in ("parameters", "moving average", "tokenizer and estimator")}
        parts = stay | {"gathered pieces": weights.whole(setting)}
        return parts | {"decoding": pictures.decoding(setting, setting.tested, self._decoded)}

    @property
    def _decoded(self) -> int:
        """Caches have the numbers of the head's weights."""
        setting = self.setting
        if setting.adapted:
            return setting.frozen
        return setting.numbers.product if setting.sharded else setting.numbers.stored
