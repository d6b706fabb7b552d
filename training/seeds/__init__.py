"""The training of one seed, from the market to a checkpoint."""
