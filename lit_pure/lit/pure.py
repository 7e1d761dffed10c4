"""The LightningModule of the autoregressive backbone: PURE's instruction tuning and its test.

Knows how a batch of photographs becomes sequences, what is learned and what is logged. The frozen tokenizer sits in the
restorer, which is no submodule: optimizers, checkpoints and sharding never see it.

Shape legend: B batch, T sequence, N label positions, H W HQ [px], h w LQ [px] or grid of codes, D width.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lit_pure.config.dem import Level
from lit_pure.config.pure import PureExperiment
from lit_pure.datasets.order import CONDITION_DRAW, MISREAD_DRAW
from lit_pure.degradation.weights import load_dem
from lit_pure.families.pure.build import lq_side, new_restorer
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import IGNORE, Sample
from lit_pure.families.pure.sequence.misread import Misreading
from lit_pure.families.pure.sequence.template import PERCEIVES, degradation_sentence
from lit_pure.families.pure.weights import save_pure
from lit_pure.images.geometry import resizer
from lit_pure.images.labels import DEM_DEGRADATION, SOURCE_CAPTION
from lit_pure.lit.callbacks.flops import transformer_training
from lit_pure.lit.callbacks.protocols import Work
from lit_pure.lit.data import Batch, DegradeAndScore, Transform, generators
from lit_pure.lit.distributed.sharding import full_state, gathered, prepare, sum_over_processes, world_size
from lit_pure.lit.restoring import RestoringModule
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.schedule import configure
from lit_pure.models.adapters import equivalent_parameters
from lit_pure.restoring.contract import Restoration
from lit_pure.runs.folder import Run

KINDS = ("loss", "loss_text", "loss_image")
"""What is logged: mean cross entropies of all answer tokens, of words, and of image codes."""

DTYPES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16, "bf16-true": torch.bfloat16}
"""What a training computes in where that differs from the dtype of its weights."""


def build(experiment: PureExperiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment, and what is done to its batches. Raises ValueError where labels are missing."""
    dem = load_dem(needs["dem"].weights) if "dem" in needs else None
    mode = experiment.sequence.guidance_mode
    if dem is None and mode in PERCEIVES and "weights" not in needs:
        raise ValueError(f"guidance mode {mode} needs labels: set needs.dem")
    module = ARModule(experiment, new_restorer(experiment, needs))
    return module, DegradeAndScore(experiment.data.degradation, dem, lq_side(experiment, needs))


class ARModule(RestoringModule):
    """Trains the backbone of a `Restorer` to write degradation sentence, caption and HQ codes."""

    config: PureExperiment
    restorer: Restorer

    def __init__(self, config: PureExperiment, restorer: Restorer) -> None:
        super().__init__(config, restorer)
        self.backbone = restorer.backbone
        self.work = Work()
        self._misread = self._misreading(restorer) if config.sequence.misread else None
        self._prepared, self._whole = False, ExitStack()
        self._validated_23 = torch.zeros(2, 3)

    def configure_model(self) -> None:
        """Once, and only for training: activation checkpointing, compiler, sharding where the strategy has a mesh."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self._prepared:
            mesh = self.device_mesh
            prepare(self.backbone, self.config.trainer, None if mesh is None else mesh["data_parallel"])
            self._prepared = True

    def on_fit_start(self) -> None:
        """Move the frozen tokenizer to the device."""
        self.restorer.tokenizer.to(self.device)

    def on_test_start(self) -> None:
        """Move the frozen tokenizer to the device, gather the backbone, and reset the scores."""
        self.restorer.tokenizer.to(self.device)
        self.scores.reset()
        self._whole.enter_context(gathered(self.backbone))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross entropy on the answer (paper equation 1)."""
        rngs = generators(self.config.seed, batch, CONDITION_DRAW)
        bare = [bool(rng.random() < self.config.sequence.condition_dropout) for rng in rngs]
        loss, found_23B, present = self._loss(batch, bare, training=True)
        sums_3, counts_3 = sum_over_processes(found_23B.sum(-1))
        for name, mean, here in zip(KINDS, sums_3 / counts_3.clamp(min=1), present, strict=True):
            if here:
                self.log(f"train/{name}", mean, prog_bar=name == "loss", batch_size=len(bare))
        return loss

    def on_validation_start(self) -> None:
        """Gather the backbone: how many passes decoding takes differs between processes."""
        self._validated_23 = torch.zeros(2, 3, device=self.device)
        self._whole.enter_context(gathered(self.backbone))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss; the first pictures are restored and shown."""
        _, found_23B, _ = self._loss(batch, [False] * len(batch["name"]))
        # Samples are dealt out in order. One that is not this process's pads its share, so that all take as many steps.
        self._validated_23 += found_23B[..., batch["index"] % world_size() == self.global_rank].sum(-1)
        if batch_idx == 0:
            self.restore_and_show(batch, self.config.evaluation.pictures)

    def on_validation_epoch_end(self) -> None:
        """Log means over all answer tokens of all processes; averaging them over these changes nothing."""
        self._whole.close()
        sums_3, counts_3 = sum_over_processes(self._validated_23)
        for name, total, count in zip(KINDS, sums_3, counts_3.tolist(), strict=True):
            if count:
                self.log(f"val/{name}", total / count, prog_bar=name == "loss", sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Log the means; the backbone may be sharded again."""
        self._whole.close()
        super().on_test_epoch_end()

    def save_weights(self, folder: Path, writes: bool) -> None:
        """The backbone, gathered, and its vocabulary."""
        state = full_state(self.backbone)
        if writes:
            save_pure(folder, self.backbone, self.restorer.assembler.vocabulary, state)

    def computing(self, device: torch.device) -> dict[str, str]:
        """What computes attention, of a training in its precision."""
        dtype = self.backbone.embed.weight.dtype
        if not self.config.needs.weights:
            dtype = DTYPES.get(self.config.trainer.precision, dtype)
        return {"attention": self.backbone.attention(device, dtype).name}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, warm-up, cosine."""
        return configure(self.backbone.parameters(), self.config.optim, self.total_steps(self.config.trainer))

    def samples(self, batch: Batch) -> list[Sample]:
        """What sequences are made from: codes of both pictures at HQ size, on the host; labels, captions."""
        hq_B3HW, lq_B3hw = batch["hq_B3HW"], batch["lq_B3hw"]
        enlarged_B3HW = resizer(self.config.restoring.round_source)(lq_B3hw, *hq_B3HW.shape[-2:])
        codes_2Bhw = self.restorer.tokenizer.encode(torch.cat([enlarged_B3HW, hq_B3HW]))
        lq_codes_Bhw, hq_codes_Bhw = codes_2Bhw.cpu().chunk(2)
        labels: Sequence[tuple[Level | None, Level | None]] = batch.get("labels") or [(None, None)] * len(hq_B3HW)
        return [
            Sample(lq_codes_hw, hq_codes_hw, blur, noise, caption)
            for lq_codes_hw, hq_codes_hw, (blur, noise), caption in zip(
                lq_codes_Bhw, hq_codes_Bhw, labels, batch["caption"], strict=True
            )
        ]

    def _misreading(self, restorer: Restorer) -> Misreading:
        vectors_NC = restorer.tokenizer.lookup(torch.arange(restorer.tokenizer.config.codes)).detach()
        return Misreading(vectors_NC, restorer.assembler.vocabulary, self.config.sequence.misread)

    def _loss(self, batch: Batch, bare: list[bool], training: bool = False) -> tuple[Tensor, Tensor, list[bool]]:
        """The loss of a batch, and what is logged of it.

        Returns:
            The loss, whose mean over all processes is that over all their answer tokens, with z-loss; sums and counts
            (2, 3, B) of cross entropies of `KINDS`; and which of these this process has.
        """
        assembler, config = self.restorer.assembler, self.backbone.config
        samples = self.samples(batch)
        # Sequences are made by the host: a GPU would take one small call after another, and wait for many of them.
        ids_BT, labels_BT = assembler.batch(samples, bare)
        if training and self._misread is not None:
            ids_BT = self._misread(ids_BT, labels_BT, generators(self.config.seed, batch, MISREAD_DRAW))
        rows_N, places_N = (labels_BT[:, 1:] != IGNORE).nonzero(as_tuple=True)
        labels_N = labels_BT[rows_N, places_N + 1]
        text_N, image_N = assembler.vocabulary.text_V[labels_N], assembler.vocabulary.id_codes_V[labels_N] >= 0
        kinds_3N = torch.stack([torch.ones_like(text_N), text_N, image_N])
        present = [True, *kinds_3N[1:].any(1).tolist()]
        # Filler within a row is read like words; only what follows the last label is padding.
        lengths_B = rows_N.new_zeros(len(bare)).scatter_reduce(0, rows_N, places_N + 2, "amax")
        read_B = lengths_B.clamp(max=ids_BT.shape[1] - 1)
        self.work = self._work(read_B.tolist(), len(labels_N))
        ids_BT, rows_N, places_N, labels_N, image_N, kinds_3N = (
            each.to(self.device, non_blocking=True) for each in (ids_BT, rows_N, places_N, labels_N, image_N, kinds_3N)
        )
        weight_N = (world_size() / sum_over_processes(kinds_3N[0].sum())).expand(len(labels_N))
        hidden_ND = self.backbone(ids_BT[:, :-1])[rows_N, places_N]
        prior = self.restorer.prior.expect(samples, image_N) if self.restorer.prior else None
        loss, each_N = self.backbone.head(hidden_ND, labels_N, weight_N, config.loss_chunk, config.z_loss, prior)
        found_23N = torch.stack([each_N.where(kinds_3N, 0), kinds_3N.float()])
        return loss, found_23N.new_zeros(2, 3, len(bare)).index_add(2, rows_N, found_23N), present

    def _work(self, lengths: list[int], labels: int) -> Work:
        """What a step over rows of so many tokens and labels takes; the frozen tokenizer is not counted."""
        config = self.backbone.config
        blocks, head = equivalent_parameters(self.backbone.blocks), equivalent_parameters(self.backbone.head)
        flops = transformer_training(blocks, lengths, config.layers, config.width, head, labels)
        return Work(len(lengths), sum(lengths), flops)

    def answer(self, restored: Restoration, batch: Batch, row: int) -> dict[str, str | None]:
        """What the model wrote, beside the labels and the caption that it would be taught."""
        # Published weights are sampled from without a degradation estimator: no labels to show.
        perceives = self.restorer.assembler.mode in PERCEIVES and "labels" in batch
        words = dict(restored.words)
        return {
            "answer": words.pop("text"),
            **words,
            DEM_DEGRADATION: degradation_sentence(*batch["labels"][row]) if perceives else "",
            SOURCE_CAPTION: batch["caption"][row],
        }
