"""The edges of a run: services beside its loop, opened in a fixed order and closed again. Each is one record."""
