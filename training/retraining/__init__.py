"""Retrains models on newer data and compares the results with the models in use."""
