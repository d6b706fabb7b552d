"""Learners of policies by trial, in torch. Only training imports this package."""
