"""A run resumed, replayed and carried over to a changed configuration."""
