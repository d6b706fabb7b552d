"""The composition root: the parts of a run, made from its configuration."""
