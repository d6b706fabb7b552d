"""The store: a hash-chained journal and its read models in one file, by one writer."""
