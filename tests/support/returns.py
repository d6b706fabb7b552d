"""Random markets for allocators: a common factor, own noise with fat tails, volatilities far apart."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def market(seed: int, size: int, rows: int = 504) -> Floats:
    """float64[rows, size] daily returns."""
    draw = np.random.default_rng(seed)
    factor = draw.standard_t(5, size=(rows, 1)) * 0.006
    other = draw.normal(size=(rows, 1)) * 0.004
    residuals = draw.standard_t(5, size=(rows, size)) * draw.uniform(0.003, 0.02, size)
    common = factor * draw.uniform(-0.2, 1.5, size) + other * draw.normal(0.0, 1.0, size)
    return common + residuals + draw.normal(0.0004, 0.0005, size)
