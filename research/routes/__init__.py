"""Routes of the API whose answers research computes."""
