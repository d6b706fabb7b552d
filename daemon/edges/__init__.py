"""The edges of a run, a record each: what a daemon opens beside its loop, in one order, and closes again."""
