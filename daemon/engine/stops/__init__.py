"""Protective stops: exits, and working stop orders at the venue."""
