"""Commands that train policies and inspect models."""
