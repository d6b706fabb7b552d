"""The risk report of a run: figures, page and files."""
