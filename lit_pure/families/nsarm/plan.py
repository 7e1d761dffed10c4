"""From an NSARM experiment and its tokenizer to everything that its training memory depends on.

Knows schedules, and the size of the published text encoder. Knows nothing of memory (`planning/`); imports no torch.
"""

from lit_pure.config.compose import ConfigError
from lit_pure.config.nsarm import NSARMExperiment
from lit_pure.config.text_encoder import TextEncoderConfig
from lit_pure.families.nsarm.schedule import NO_TOKENIZER, check_fit, tokenizer_config
from lit_pure.models.scales import tokens
from lit_pure.planning.scales import ScaleSetting

T5_XL = 1_223_527_424
"""Weights of flan-t5-xl's encoder: 24 layers of width 2048, feed-forward 5120 with gates, 32,128 words."""
ITEMSIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


def measure(experiment: NSARMExperiment, gpus: int) -> ScaleSetting:
    """The setting of an experiment on `gpus` GPUs; its tokenizer is looked up as a run does it.

    Raises ConfigError if there is none, or it does not fit.
    """
    if not experiment.needs.tokenizer:
        raise ConfigError(NO_TOKENIZER)
    tokenizer = tokenizer_config(experiment.needs.tokenizer)
    schedule = check_fit(experiment, tokenizer)
    data, process = experiment.data, experiment.data.degradation
    text_bytes, notes = _text(experiment.text)
    return ScaleSetting(
        transformer=experiment.transformer if experiment.trains_transformer else None,
        transformation=experiment.transformation if experiment.trains_transformation else None,
        tokenizer=tokenizer,
        optim=experiment.optim,
        trainer=experiment.trainer,
        grids=schedule.grids,
        known=schedule.known,
        words=experiment.text.max_tokens,
        text_bytes=text_bytes,
        guided=experiment.sampling.guided,
        size=data.size,
        scale=process.scale,
        enlarged=max(1.0, process.resize_range[1], process.resize_range2[1] / process.scale),
        labels={
            "pretrain": tokens(schedule.grids),
            "stage1": tokens(schedule.grids[: schedule.known]),
            "stage2": schedule.drawn,
        }[experiment.stage],
        batch=data.batch_size,
        shown=min(experiment.evaluation.pictures, data.eval_batch_size),
        tested=data.eval_batch_size if data.test else 0,
        gpus=gpus,
        notes=notes,
    )


def _text(config: TextEncoderConfig) -> tuple[float, tuple[str, ...]]:
    """Bytes of the text encoder, and what had to be assumed."""
    if config.kind == "hashed":
        return 0.0, ()
    known = config.model.endswith("flan-t5-xl")
    assumed = () if known else (f"text.model = {config.model}: counted as flan-t5-xl's encoder",)
    return float(T5_XL * ITEMSIZES[config.dtype]), assumed
