"""Training: plans, markets with a sealed test part, seeds, checkpoints, records, and the artifact at the end."""
