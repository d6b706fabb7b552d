"""Significance of a result: confidence intervals, hypothesis tests, deflation by the number of trials, overfitting."""
