"""Commands that train, tune, evaluate and inspect models."""
