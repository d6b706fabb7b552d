"""The simulated venue."""
