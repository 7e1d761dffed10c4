"""The experiments of `bench train`, by the names of its presets.

Knows sizes and settings, and the settings that do not allow a comparison. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import replace

from lit_pure.config.compose import ConfigError, compose_as, override
from lit_pure.config.data import DataConfig
from lit_pure.config.experiment import EvaluationConfig
from lit_pure.config.pure import BackboneConfig, PureExperiment
from lit_pure.config.training import OptimConfig, TrainerConfig

NANO = "nano"
LARGE = {
    "1b": BackboneConfig(width=2048, layers=18, heads=16, ffn=5504),
    "7b-layer": BackboneConfig(layers=4),
}
"""Trained on random ids, on a CUDA device: 1.2 billion parameters, and a few of PURE's 32 blocks with all words."""
PRESETS = (NANO, *LARGE)
ROWS = 73728
"""Of embedding and head in the large presets: PURE's vocabulary."""
DECIDED = ("max_steps", "val_every", "save_every", "accelerator", "devices", "num_nodes", "resume")
"""Settings of the Trainer that the comparison itself decides."""


def preset_experiment(preset: str, overrides: Sequence[str], steps: int) -> PureExperiment:
    """The experiment of a preset for `steps` steps on one device, without validations or checkpoints.

    Raises ConfigError if an override is a mistake, or does not allow a comparison.
    """
    if named := [item for item in overrides if item.partition("=")[0] in {f"trainer.{name}" for name in DECIDED}]:
        raise ConfigError(f"{named[0]}: bench train decides that itself; take --steps and --rounds")
    base = compose_as(PureExperiment, "pure/nano") if preset == NANO else _large(LARGE[preset], preset)
    experiment = override(base, overrides)
    _check(experiment)
    never = steps + 1
    accelerator = "cpu" if preset == NANO else "gpu"
    decided = {"max_steps": never, "val_every": never, "save_every": never, "accelerator": accelerator}
    experiment.trainer = replace(experiment.trainer, **decided, devices="1", num_nodes=1, resume="no")  # type: ignore[arg-type]
    return experiment


def _large(backbone: BackboneConfig, preset: str) -> PureExperiment:
    """512 px as in the paper. The metric is not used, but an experiment must have one."""
    return PureExperiment(
        name=f"bench/{preset}",
        backbone=backbone,
        data=DataConfig(batch_size=1),
        evaluation=EvaluationConfig(metrics=["psnr"]),
        # Random ids teach nothing. At the paper's rate the loss of a few steps explodes, and with it what a GPU rounds.
        optim=OptimConfig(lr=1e-6),
        trainer=TrainerConfig(precision="bf16-mixed"),
    )


def _check(experiment: PureExperiment) -> None:
    """ConfigError if the loop written by hand would not do the same work."""
    trainer, kinds = experiment.trainer, {"auto", "fsdp"}
    wrong = {
        f"trainer.accumulate = {trainer.accumulate}": (trainer.accumulate != 1, "take 1: a step is one batch"),
        f"optim.ema = {experiment.optim.ema}": (experiment.optim.ema != 0, "take 0"),
        f"adapter.kind = {experiment.adapter.kind}": (experiment.adapter.kind != "none", "take none"),
        f"trainer.strategy = {trainer.strategy}": (trainer.strategy not in kinds, "take auto or fsdp"),
        f"trainer.precision = {trainer.precision}": (
            trainer.precision not in ("32-true", "bf16-mixed"),
            "take 32-true or bf16-mixed",
        ),
    }
    for setting, (is_wrong, remedy) in wrong.items():
        if is_wrong:
            raise ConfigError(f"{setting} is not what bench train compares; {remedy}")
