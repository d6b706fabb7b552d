"""The reference: one page for each table of facts in the code, written at every build and never committed."""
