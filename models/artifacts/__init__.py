"""A trained policy on disk: manifest, signature, weights, and the runtime that trades it. Imports no torch."""
