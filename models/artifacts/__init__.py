"""Trained policies on disk: manifest, signature, weights, and the runtime that trades them. Imports no torch."""
