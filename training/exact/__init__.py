"""The backtest engine itself as a training environment. A step is the learner's answer, the bars after it, and the
clock tick of the next decision.
"""
