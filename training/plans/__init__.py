"""Training plans: everything that determines a training, as one value."""
