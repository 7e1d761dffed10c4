"""The memory of one process that trains a next-token backbone, by part, at each moment of its peaks.

Knows which parts exist at which moment. `weights.py`, `blocks.py`, `head.py` and `pictures.py` know what each part
takes, `plan.py` what is made of the parts; `remedies.py` knows which settings would take less.
"""

from dataclasses import dataclass
from functools import cached_property

from lit_pure.planning import blocks, head, pictures, weights
from lit_pure.planning.plan import Plan
from lit_pure.planning.setting import FLOAT32, Setting


@dataclass(frozen=True)
class Memory(Plan):
    """The memory of a process with this setting [bytes]."""

    setting: Setting

    @cached_property
    def moments(self) -> dict[str, dict[str, float]]:
        """Moment -> part -> bytes, without the reserve."""
        moments = {
            "pictures": self._at_pictures(),
            "forward": self._at_forward(),
            "loss": self._at_loss(),
            "backward, last block": self._at_backward_start(),
            "backward, first block": self._at_backward_end(),
            "update": self._permanent
            | {"gradients": self._gradients, "AdamW's step": weights.optimizer_step(self.setting)},
            "validation": self._at_validation(),
            "test": self._at_test(),
        }
        return {name: parts for name, parts in moments.items() if parts}

    @property
    def loss_and_head(self) -> float:
        """Loss and head of one sample in float32, without the head's weights, their gradient, and the hidden states.

        All positions are counted, whether the loss uses them or not.
        """
        config, setting = self.setting.backbone, self.setting
        return head.logits_and_gradients(setting.length, setting.vocabulary, config.width, config.loss_chunk)

    @cached_property
    def _permanent(self) -> dict[str, float]:
        """Parts that exist all the time."""
        setting = self.setting
        return {
            "parameters": weights.parameters(setting),
            "AdamW's moments": weights.moments(setting),
            "moving average": weights.moving_average(setting),
            "tokenizer and estimator": pictures.frozen_networks(setting),
        }

    @cached_property
    def _gradients(self) -> float:
        """Gradients of a step; they exist until the end of the next forward pass."""
        return weights.gradients(self.setting)

    @cached_property
    def _activations(self) -> float:
        """What all blocks save."""
        setting = self.setting
        return setting.backbone.layers * blocks.saved_until_backward(setting) * setting.positions

    def _at_pictures(self) -> dict[str, float]:
        steps = (pictures.degrading, pictures.scoring, pictures.encoding)
        on_the_way = max(step(self.setting) for step in steps)
        return self._permanent | {"gradients": self._gradients, "pictures on the way": on_the_way}

    def _at_forward(self) -> dict[str, float]:
        setting = self.setting
        layers = setting.backbone.layers
        parts = self._permanent | {"gradients": self._gradients, "activations": self._activations}
        parts["gathered pieces"] = weights.gathered_blocks(setting) + weights.autocast_copies(setting, layers)
        if setting.trainer.activation_checkpointing != "none":
            parts["a block's passes"] = blocks.forward_peak(setting) * setting.positions
        return parts

    def _at_loss(self) -> dict[str, float]:
        setting = self.setting
        last = blocks.saved_by_norm(setting) * setting.positions
        parts = self._permanent | {"gradients": self._gradients, "activations": self._activations + last}
        parts["gathered pieces"] = weights.gathered_table(setting) + weights.autocast_copies(
            setting, setting.backbone.layers
        )
        parts["loss and head"] = head.loss(setting) + head.weights(setting)
        return parts

    def _at_backward_start(self) -> dict[str, float]:
        setting = self.setting
        again = 1 if setting.trainer.activation_checkpointing != "none" else setting.backbone.layers
        parts = self._permanent | {"activations": self._activations}
        parts["gradients"] = self._gradients_so_far({weights.table_shape(setting): 1})
        parts["gathered pieces"] = (
            weights.gathered_blocks(setting)
            + weights.reduced_gradients(setting, 1)
            + weights.autocast_copies(setting, again)
        )
        # The backward pass reaches the last norm before the last block.
        composed = 4 * FLOAT32 * setting.backbone.width if not setting.kernels.fused_norm else 0.0
        passes = max(blocks.backward_peak(setting), blocks.saved_by_norm(setting) + composed)
        parts["a block's passes"] = passes * setting.positions
        return parts

    def _at_backward_end(self) -> dict[str, float]:
        setting = self.setting
        layers = setting.backbone.layers
        before = {shape: times * (layers - 1) for shape, times in weights.block_tensors(setting).items()}
        parts = self._permanent | {"gradients": self._gradients_so_far(before | {weights.table_shape(setting): 1})}
        parts["gathered pieces"] = (
            weights.gathered_blocks(setting)
            + weights.gathered_table(setting)
            + weights.reduced_gradients(setting, 1)
            + weights.autocast_copies(setting, 1)
        )
        parts["activations"] = blocks.saved_until_backward(setting) * setting.positions
        parts["a block's passes"] = blocks.backward_peak(setting) * setting.positions
        return parts

    def _gradients_so_far(self, tensors: weights.Tensors) -> float:
        """Gradients of these tensors; all gradients if they are added to those of an earlier batch.

        With FSDP or adapters all are counted, which is not much more.
        """
        setting = self.setting
        if setting.trainer.accumulate > 1 or setting.sharded or setting.adapted:
            return self._gradients
        buckets = self._gradients / 2 if setting.replicated else 0.0
        return weights.numel(tensors) * setting.itemsizes.stored + buckets

    def _at_validation(self) -> dict[str, float]:
        parts = self._permanent | {
            "gradients": self._gradients,
            "gathered pieces": weights.gathered_backbone(self.setting),
        }
        return parts | {"decoding": pictures.decoding(self.setting, self.setting.shown, self._cache_itemsize)}

    def _at_test(self) -> dict[str, float]:
        """After training: the optimizer is freed."""
        setting = self.setting
        if not setting.tested:
            return {}
        remaining = ("parameters", "moving average", "tokenizer and estimator")
        parts = {name: self._permanent[name] for name in remaining} | {
            "gathered pieces": weights.gathered_backbone(setting)
        }
        return parts | {"decoding": pictures.decoding(setting, setting.tested, self._cache_itemsize)}

    @property
    def _cache_itemsize(self) -> int:
        """Bytes per element of the KV cache, which has the dtype of the head's weights."""
        setting = self.setting
        if setting.adapted:
            return setting.frozen
        return setting.itemsizes.product if setting.sharded else setting.itemsizes.stored
