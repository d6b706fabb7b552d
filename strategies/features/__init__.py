"""Features: declared sets of numbers per instrument, from bars, books and series, equal in training and trading."""

from quantd.strategies.features.families import FAMILIES, UNAVAILABLE, series_input
from quantd.strategies.features.feature_batch import compute
from quantd.strategies.features.inputs import Inputs
from quantd.strategies.features.session_rows import compute_by_session, newest_row
from quantd.strategies.features.specs import SETS, Feature, FeatureError, FeatureSpec, feature, shipped, spec_of

__all__ = [
    "FAMILIES",
    "SETS",
    "UNAVAILABLE",
    "Feature",
    "FeatureError",
    "FeatureSpec",
    "Inputs",
    "compute",
    "compute_by_session",
    "feature",
    "newest_row",
    "series_input",
    "shipped",
    "spec_of",
]
