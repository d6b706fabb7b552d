"""Everything that determines a training, as a value."""
