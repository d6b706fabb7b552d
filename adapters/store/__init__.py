"""The store: a hash-chained journal and the tables derived from it, in one database with a single writer."""
