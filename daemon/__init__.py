"""The daemon: the pure engine, the loop that acts for it, and its edges."""
