"""Ablation: what a trained policy loses without a group of features, a part of its learner, or the risk limits."""
