"""Compiles the listed modules of the engine to C, and loads the result where it fits their source.

`hook` is part of each start, `finder` runs for the first listed module, `builder` on demand.
docs/develop/build.md describes them.
"""
