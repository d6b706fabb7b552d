"""The journal of a store: append-only rows in a hash chain, compacted into archives and read back."""
