"""The store: a hash-chained journal and tables derived from it (read models) in one database, written by a single
writer."""
