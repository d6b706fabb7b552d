"""A live market: bars of a vendor, grouped by instant into slices in time order."""
