"""A live market: bars of a vendor as slices in order of time."""
