"""The labels of pictures and of the words beside them.

Knows only these strings. They name columns of a grid, folders below `images/`, methods of scores and keys in
`answers.jsonl`. Old run folders contain them, so they must not change. Knows nothing of pictures and imports nothing.
"""

LQ = "LQ"
"""The low-quality picture."""
BICUBIC = "bicubic"
"""The low-quality picture enlarged by bicubic interpolation, the baseline."""
RESTORED = "restored"
"""The result of a restorer, from the low-quality picture."""
PREFIX = "prefix alone"
"""The first scales of a restored picture, those that come from the low-quality picture, and none of the others."""
RECONSTRUCTED = "reconstructed"
"""The result of a tokenizer, from the ground truth."""
FROM_LQ_CODES = "LQ codes, photo seen"
"""The result of a tokenizer whose decoder sees the photograph, from the low-quality picture's own codes."""
GROUND_TRUTH = "ground truth"
"""The high-quality picture."""

DEM_DEGRADATION = "degradation (DEM)"
"""The degradation sentence, from the labels of the DEM."""
SOURCE_CAPTION = "caption (source)"
"""The caption from the caption source."""
