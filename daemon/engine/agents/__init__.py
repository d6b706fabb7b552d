"""Capital, promotion and retraining of agents."""
