"""Learned policies: what an artifact is, how it runs, how it is trained."""
