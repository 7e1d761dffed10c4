"""Helpers of the notebooks: tables and figures, and what they need. Cells only call these."""

import warnings

# Libraries with progress bars look for widgets when a notebook imports them; none of ours needs widgets.
warnings.filterwarnings("ignore", message="IProgress not found")
