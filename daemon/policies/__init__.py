"""Policies loaded and called: in line, in a thread, or in a process of their own."""
