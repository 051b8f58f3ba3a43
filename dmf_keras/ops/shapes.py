"""Sizes for reshapes that also hold where there is nothing: no history, no candidates."""

from __future__ import annotations

import math
from typing import Any


def rows(*sizes: Any, over: int = 1) -> int:
    """The product of `sizes`, divided by `over`; -1, for the backend to infer, where one is known only at run time.

    Beside a size of 0 nothing can be inferred, which JAX and PyTorch refuse. TensorFlow, the one backend that does not
    know all sizes beforehand, takes it; a product of its dynamic sizes would be operations of the graph.
    """
    return math.prod(sizes) // over if all(isinstance(size, int) for size in sizes) else -1
