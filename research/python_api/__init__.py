"""Python API: backtests of policies and configurations, and stored runs, as polars frames.

`quantd` exports its names; importing `quantd` alone loads none of this.
"""
