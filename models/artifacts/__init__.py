"""Trained policies on disk: manifest, signature, weights, and the runtime that trades by them. Imports no torch."""
