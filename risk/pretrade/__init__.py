"""The pre-trade gate, and the headroom of each symbol."""
