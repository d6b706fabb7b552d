"""Python API: backtests of policies and configurations, and stored runs, as polars frames.

`quantd` exports the names of this package; `import quantd` alone loads none of its modules.
"""
