"""Adjusted p-values for several hypotheses: Holm and Benjamini-Hochberg.

What can go wrong: of many true hypotheses some are rejected by chance. Holm's method bounds the probability of any
false rejection. The method of Benjamini-Hochberg bounds the expected share of false rejections among all
rejections, for independent or positively dependent hypotheses.

An adjusted p-value is compared with the level itself, such as 0.05. Adjusted values have the order of the p-values:
Holm's method takes the running maximum from the smallest value on, the other method the running minimum from the
largest value on.
"""

import numpy as np

from quantd.trading.market import Floats


def holm(p: Floats) -> Floats:
    """Return the p-values float64[M] of M hypotheses, adjusted step-down (Holm 1979). Valid under any dependence.
    Raises ValueError for no p-values, or for one outside [0, 1]."""
    order, ordered = _sorted_checked(p)
    count = len(ordered)
    adjusted = np.maximum.accumulate(ordered * np.arange(count, 0, -1))
    return _in_input_order(adjusted, order)


def benjamini_hochberg(p: Floats) -> Floats:
    """Return float64[M], the p-values adjusted for the false discovery rate (Benjamini & Hochberg 1995).

    Valid for independent or positively dependent hypotheses. Raises ValueError for no p-values, or for one outside
    [0, 1].
    """
    order, ordered = _sorted_checked(p)
    return _in_input_order(_step_up_adjusted(ordered), order)


def _sorted_checked(p: Floats) -> tuple[np.ndarray, Floats]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError("the adjustment needs a list of at least one p-value")
    if not bool(((values >= 0.0) & (values <= 1.0)).all()):
        raise ValueError("every p-value must be between 0 and 1")
    order = np.argsort(values, kind="stable")
    return order, values[order]


def _step_up_adjusted(ordered: Floats) -> Floats:
    count = len(ordered)
    scaled = ordered * (count / np.arange(1, count + 1))
    # running minimum from the largest p-value on
    p_values: Floats = np.minimum.accumulate(scaled[::-1])[::-1]
    return p_values


def _in_input_order(adjusted: Floats, order: np.ndarray) -> Floats:
    p_values = np.empty(len(adjusted))
    p_values[order] = np.minimum(adjusted, 1.0)
    return p_values
