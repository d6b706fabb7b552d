"""A live market: bars of a vendor as slices in time order."""
