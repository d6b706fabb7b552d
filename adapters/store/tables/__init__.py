"""The tables of a store, what they contain, and the limits of their size."""
