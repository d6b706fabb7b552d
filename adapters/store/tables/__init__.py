"""The tables of a store, their content and their bounds."""
