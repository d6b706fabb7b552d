"""The tables of a store, and how they are filled and bounded."""
