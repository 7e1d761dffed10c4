"""lit_pure: an experimentation framework for autoregressive real-world image super-resolution.

Importing the package imports nothing else: name the room you need (`from lit_pure.sampling import logits`).
"""

__version__ = "0.1.0"
