"""Random forests for allocation: forecasts of volatilities, correlations and relative risk-adjusted returns."""
