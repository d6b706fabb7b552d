"""Studies of what the daemon and its policies did."""
