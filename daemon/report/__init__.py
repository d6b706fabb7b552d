"""Risk reports: figures from the store and from the state as it stands, one page and one JSON document of the same."""
