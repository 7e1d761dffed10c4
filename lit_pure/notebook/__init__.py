"""Helpers of the notebooks: tables, figures, and what is needed to make them. Cells only call these."""

import warnings

# Libraries that show progress look for widgets as soon as they are imported in a notebook; none of ours needs them.
warnings.filterwarnings("ignore", message="IProgress not found")
