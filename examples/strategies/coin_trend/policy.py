"""Trend on coins: hold each coin that rose over the last four weeks, and cash in place of one that fell.

That the return of one to four weeks predicts the next weeks of a coin is a finding of Liu and Tsyvinski (2021).
"""

import numpy as np

LOOKBACK = 28  # samples of returns that act reads: coins trade on all seven days


def act(view, lookback=LOOKBACK):
    """Return one weight per coin: an equal part for a coin that rose, else nothing; the rest is cash."""
    rise = view.returns(lookback).sum(axis=0)
    return np.where(rise > 0, 1.0, 0.0) / len(rise)
