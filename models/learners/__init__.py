"""Reinforcement learners in torch. Only training imports this package."""
