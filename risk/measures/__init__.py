"""Risk measures of a portfolio, as pure functions of arrays."""
