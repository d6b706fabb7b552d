"""The read side: state and store as operators see them."""
