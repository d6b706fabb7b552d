"""The store: a hash-chained journal and its read models in one database, written by a single writer."""
