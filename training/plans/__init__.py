"""Plans: everything that determines a training, as a value."""
