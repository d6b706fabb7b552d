"""The journal of a store: rows written once, in a hash chain, compacted into archives and read back."""
