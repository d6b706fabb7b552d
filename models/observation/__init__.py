"""Observations of policies, computed by one function in training and in trading."""
