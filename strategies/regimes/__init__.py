"""Market regimes from past samples only: bull, bear or volatile, by thresholds, a hidden Markov model or a mixture.

Nothing here is smoothed: what is said of a sample is said with the samples up to it and never revised.
"""

from quantd.strategies.regimes.detectors import REGIMES, Reading, RegimeModel, RegimeParams, market_of, model_of
from quantd.strategies.regimes.dwell import InForce, in_force

__all__ = ["REGIMES", "InForce", "Reading", "RegimeModel", "RegimeParams", "in_force", "market_of", "model_of"]
