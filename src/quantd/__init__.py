"""An event-driven trading daemon with a pre-trade risk gate that cannot be skipped.

The packages are the folders at the top of the repository: `quantd.risk` is `risk/`, and so on.
docs/develop/architecture.md describes them. The command `quantd` is in `quantd.daemon.cli`.
"""
