"""Commands that change a run: halt, reduce, resume, orders by hand."""
