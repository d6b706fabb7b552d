"""Random forests that help to allocate: next volatilities, next correlations, relative risk-adjusted returns."""
