"""Trains policies: networks, learners, markets to learn in, exports, and training by schedule."""
