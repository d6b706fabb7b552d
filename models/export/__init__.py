"""A learned policy written as an artifact, and smaller copies of it."""
