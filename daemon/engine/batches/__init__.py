"""Quiet samples of a recorded market in one call: nothing trades, nobody is asked, and no level can change."""
