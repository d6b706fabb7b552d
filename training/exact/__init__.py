"""The market of the engine itself as an environment: a step is an answer, a bar and its tick."""
