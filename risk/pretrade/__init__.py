"""The pre-trade gate, and how much may still be traded."""
