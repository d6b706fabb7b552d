"""Market regimes from past samples only: bull, bear or volatile, by thresholds, a hidden Markov model or a mixture.

There is no smoothing: a sample's regime depends on the samples up to it and is never revised.
"""

from quantd.strategies.regimes.detectors import REGIMES, Reading, RegimeModel, RegimeParams, market_of, model_of
from quantd.strategies.regimes.dwell import InForce, in_force

__all__ = ["REGIMES", "InForce", "Reading", "RegimeModel", "RegimeParams", "in_force", "market_of", "model_of"]
