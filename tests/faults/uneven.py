"""A training, with validation and test, of the real module on photographs that processes cannot share evenly."""

import json
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from lit_pure.config.data import DataConfig, PhotosConfig
from lit_pure.config.experiment import EvaluationConfig
from lit_pure.config.pure import BackboneConfig, PureExperiment, SamplingConfig, SequenceConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.config.training import TrainerConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.lit.callbacks.metrics import RestorationMetrics
from lit_pure.lit.callbacks.skip_nonfinite import SkipNonFinite
from lit_pure.lit.callbacks.watchdog import Watchdog
from lit_pure.lit.data import DegradeAndScore, PhotoDataModule
from lit_pure.lit.distributed.strategies import strategy_of
from lit_pure.lit.pure import ARModule
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer
from tests.faults.train import Settings

STEPS = 2


def main(settings: Settings) -> int:
    """Two steps of two photographs, a validation and a test of all."""
    folder = Path(settings.folder)
    torch.manual_seed(0)
    photos = PhotosConfig(source=str(folder / "photos"))
    data = DataConfig(
        size=96, train=photos, val=photos, test={"all": photos}, batch_size=2 // settings.world, eval_batch_size=8
    )
    config = PureExperiment(
        data=data,
        sequence=SequenceConfig(guidance_mode="none"),
        trainer=TrainerConfig(accelerator="cpu", devices=str(settings.world), strategy=settings.strategy, timeout=30.0),
        evaluation=EvaluationConfig(pictures=8),
        backbone=BackboneConfig(width=32, layers=1, heads=2, ffn=32),
    )
    vocabulary = make_vocabulary(["A bright picture."] * 5, codes=40, words=300)
    vq = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=40)
    tokenizer = VQTokenizer(vq).requires_grad_(False).eval()
    backbone = NextTokenBackbone(config.backbone, vocabulary.size)
    assembler = Assembler(vocabulary, "none", 32, 20)
    module = ARModule(config, Restorer(tokenizer, backbone, assembler, SamplingConfig(max_text=4), size=96, scale=4))
    callbacks: list[Callback] = [RestorationMetrics(["psnr"], stages=["val"]), SkipNonFinite(folder, 1), Watchdog(30.0)]
    trainer = Trainer(
        max_steps=STEPS, val_check_interval=STEPS, check_val_every_n_epoch=None, log_every_n_steps=1,
        accelerator="cpu", devices=settings.world, strategy=strategy_of(config.trainer), num_sanity_val_steps=0,
        use_distributed_sampler=False, enable_model_summary=False, enable_progress_bar=False,
        enable_checkpointing=False, logger=False, callbacks=callbacks,
    )  # fmt: skip
    trainer.fit(module, PhotoDataModule(data, 0, DegradeAndScore(data.degradation, None)))
    found = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
    trainer.test(module, PhotoDataModule(data, 0, DegradeAndScore(data.degradation, None)), verbose=False)
    rows = [(row.method, row.image, dict(row.scores)) for row in module.scores.rows]
    (folder / f"report_{trainer.global_rank}.json").write_text(json.dumps({"val": found, "rows": rows}))
    return 0
