"""The labels of pictures and of the words beside them.

Knows the strings alone. They name the columns of a grid, the folders below `images/`, the method of a score and keys of
`answers.jsonl`. Old run folders hold them, so they stay as they are. Knows no picture and imports nothing.
"""

LQ = "LQ"
"""The low-quality picture."""
BICUBIC = "bicubic"
"""The low-quality picture enlarged by bicubic interpolation, the baseline."""
RESTORED = "restored"
"""What a restorer made of the low-quality picture."""
RECONSTRUCTED = "reconstructed"
"""What a tokenizer made of the ground truth."""
GROUND_TRUTH = "ground truth"
"""The high-quality picture."""

DEM_DEGRADATION = "degradation (DEM)"
"""The degradation sentence made of the labels of the DEM."""
SOURCE_CAPTION = "caption (source)"
"""The caption from the caption source."""
