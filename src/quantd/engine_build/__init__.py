"""Compiles the listed modules of the engine to C, and loads the result where it fits their source.

`finder` runs at each start, `builder` on demand. docs/develop/build.md describes both.
"""
