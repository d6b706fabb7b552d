"""Training: plans, markets whose test part is sealed, one seed after another, checkpoints, records, and the artifact at
the end."""
