"""What a model says about the next token of one sequence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
"""One number per token of the vocabulary, or a row of such for each of several sequences."""
