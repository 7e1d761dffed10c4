"""The LightningModule of NSARM: its three stages, and their test.

Knows what is drawn for a batch, and what is logged. The losses are `families/nsarm/learning.py`'s. The frozen tokenizer
sits in the restorer, which is no submodule: optimizers, checkpoints and sharding never see it.

Shape legend: B batch, D bits of a latent cell, h w a scale's grid of cells, s the model's square [px].
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.datasets.order import CONDITION_DRAW, FLIP_DRAW
from lit_pure.families.nsarm.build import new_restorer
from lit_pure.families.nsarm.learning import Learner, Values, Words
from lit_pure.families.nsarm.network import NSARMNetwork, save_network
from lit_pure.families.nsarm.restorer import NSARMRestorer
from lit_pure.images.geometry import resizer
from lit_pure.images.labels import GROUND_TRUTH, PREFIX, RESTORED
from lit_pure.lit.autoencoder import psnr
from lit_pure.lit.callbacks.flops import transformer_training
from lit_pure.lit.callbacks.protocols import Work
from lit_pure.lit.data import Batch, DegradeAndScore, Transform, generators, torch_generators
from lit_pure.lit.distributed.sharding import full_state, gathered, prepare
from lit_pure.lit.restoring import RestoringModule
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.schedule import configure
from lit_pure.models.bsq import draw_flips
from lit_pure.models.scales import tokens
from lit_pure.runs.folder import Run


def build(experiment: NSARMExperiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment, and what is done to its batches."""
    module = NSARMModule(experiment, new_restorer(experiment, needs))
    return module, DegradeAndScore(experiment.data.degradation, None)


class NSARMModule(RestoringModule):
    """Trains the network of an `NSARMRestorer` in one of its stages."""

    config: NSARMExperiment
    restorer: NSARMRestorer

    def __init__(self, config: NSARMExperiment, restorer: NSARMRestorer) -> None:
        super().__init__(config, restorer)
        self.network: NSARMNetwork = restorer.network
        self.learner = Learner(self.network, restorer.prefix, config.losses, config.resize, config.flips.keep_gradient)
        self.work = Work()
        self._prepared, self._whole = False, ExitStack()

    def configure_model(self) -> None:
        """Once, and only for training: activation checkpointing, compiler, sharding where the strategy has a mesh."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self._prepared:
            mesh = self.device_mesh
            prepare(self.network, self.config.trainer, None if mesh is None else mesh["data_parallel"])
            self._prepared = True

    def on_fit_start(self) -> None:
        """Move the frozen tokenizer to the device."""
        self.restorer.tokenizer.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of the stage."""
        count = len(batch["name"])
        rngs = generators(self.config.seed, batch, CONDITION_DRAW)
        dropped = [bool(rng.random() < self.config.caption.dropout) for rng in rngs]
        loss, values = self._losses(batch, dropped, self._flips(batch))
        self.work = self._work(count)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=count)
        self.log_dict({f"train/{name}": value for name, value in values.items()}, batch_size=count)
        return loss

    def on_validation_start(self) -> None:
        """Gather the network for decoding."""
        self._whole.enter_context(gathered(self.network))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss and the figures of the stage without any draw; the first pictures are restored and shown."""
        count, hq_B3HW, enlarged_B3ss = len(batch["name"]), batch["hq_B3HW"], self._enlarged(batch)
        loss, values = self._losses(batch)
        residuals_BDhw = self.restorer.prefix(enlarged_B3ss)
        alone_B3ss = self.restorer.prefix_alone(residuals_BDhw)
        figures = {"loss": loss, **values, "prefix_psnr": psnr(alone_B3ss, hq_B3HW).mean()}
        if self.config.stage == "pretrain":  # what stage 2 begins with, where the prefix is the LQ picture's
            figures |= self.learner.stage2(hq_B3HW, enlarged_B3ss, self._words(batch, described=True))[1]
        self.log_dict({f"val/{name}": value for name, value in figures.items()}, batch_size=count, sync_dist=True)
        if batch_idx == 0:
            shown = self.config.evaluation.pictures
            self.restore_and_show(batch, shown)
            restored_B3ss, truth_B3ss = self.shown.pop(RESTORED), self.shown.pop(GROUND_TRUTH)
            self.shown |= {PREFIX: alone_B3ss[:shown], RESTORED: restored_B3ss, GROUND_TRUTH: truth_B3ss}

    def on_validation_epoch_end(self) -> None:
        """The network may be sharded again."""
        self._whole.close()

    def on_test_start(self) -> None:
        """Move the frozen tokenizer to the device, gather the network, and reset the scores."""
        super().on_test_start()
        self._whole.enter_context(gathered(self.network))

    def on_test_epoch_end(self) -> None:
        """Log the means; the network may be sharded again."""
        self._whole.close()
        super().on_test_epoch_end()

    def save_weights(self, folder: Path, writes: bool) -> None:
        """The network, gathered."""
        state = full_state(self.network)
        if writes:
            save_network(folder, self.network, state)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, warm-up, cosine; biases, norms and embeddings have no weight decay (the published rule)."""
        steps = self.total_steps(self.config.trainer)
        return configure(self.network.parameters(), self.config.optim, steps, self.network.undecayed())

    def _losses(
        self, batch: Batch, dropped: list[bool] | None = None, flips_BDhw: list[Tensor] | None = None
    ) -> tuple[Tensor, Values]:
        """The loss of the stage, and what is logged of it; without arguments nothing is dropped or flipped."""
        flips, hq_B3HW = flips_BDhw or [], batch["hq_B3HW"]
        if self.config.stage == "pretrain":
            return self.learner.pretrain(hq_B3HW, self._words(batch, dropped), flips)
        enlarged_B3ss = self._enlarged(batch)
        if self.config.stage == "stage1":
            return self.learner.stage1(hq_B3HW, enlarged_B3ss)
        return self.learner.stage2(hq_B3HW, enlarged_B3ss, self._words(batch, dropped, described=True), flips)

    def _words(self, batch: Batch, dropped: list[bool] | None = None, described: bool = False) -> Words:
        """The captions that came with the HQ pictures, or those that the restorer would take, `described`."""
        captions = self.restorer.captions(self._enlarged(batch)) if described else batch["caption"]
        return Words(self.restorer.text(captions, batch["hq_B3HW"].device), dropped or ())

    def _flips(self, batch: Batch) -> list[Tensor]:
        """Bits to flip; none where no transformer learns to repair them.

        Each picture has probabilities of its own, so that they do not depend on the batch; Infinity's are the batch's.
        """
        config, bits = self.config.flips, self.restorer.tokenizer.config.bits
        if not config.strength or not self.config.trains_transformer:
            return []
        cells = self.restorer.schedule.cells[: config.scales or None]
        rngs = torch_generators(self.config.seed, batch, FLIP_DRAW)
        drawn = [draw_flips(cells, 1, bits, config.strength, rng) for rng in rngs]
        return [torch.cat(flips).to(batch["hq_B3HW"].device) for flips in zip(*drawn, strict=True)]

    def _enlarged(self, batch: Batch) -> Tensor:
        by = resizer(self.config.restoring.round_source)
        return by(batch["lq_B3hw"], self.restorer.size, self.restorer.size)

    def _work(self, count: int) -> Work:
        """What a step over so many pictures takes of the transformer; tokenizer and prefix are not counted."""
        transformer = self.network.transformer
        if transformer is None:
            return Work(count)
        length, config = tokens(self.restorer.schedule.grids), transformer.config
        blocks, head = (
            sum(item.numel() for item in part.parameters()) for part in (transformer.blocks, transformer.head)
        )
        flops = transformer_training(blocks, [length] * count, config.layers, config.width, head, length * count)
        return Work(count, length * count, flops)
