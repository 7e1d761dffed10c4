"""Whether a training has epochs. Knows Lightning's Trainer."""

import math

from lightning import Trainer


def is_endless(trainer: Trainer) -> bool:
    """Whether steps end the training, on a stream of data without an end."""
    return trainer.max_steps >= 0 and not math.isfinite(trainer.num_training_batches)
