"""Trains policies: networks, learners, simulated markets to learn in, exports, and training by schedule."""
