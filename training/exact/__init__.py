"""The backtest engine itself as a training environment: a step is the agent's answer, a bar and the clock tick after
it.
"""
